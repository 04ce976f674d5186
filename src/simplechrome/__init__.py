"""Gene expression from histone-mark tracks.

SimpleChrome learns, without expression labels, a small latent representation of the
histone-modification signal around each gene, and predicts expression from it. The packages, in
the order in which data pass through them:

`sources`      files of any kind → plain arrays and tables
`simulation`   the demo's data, with planted effects
`dataset`      arrays → one labelled dataset (cell_type, gene, bin, mark), splits, transforms
`training`     one loop for everything that is trained by gradient
`latent`       window → latent: ConsensusEncoder, VAE, PCA, LogMeans
`predictors`   latent or window → expression
`evaluation`   scores with intervals, calibration
`config`       one TOML file is one run
`runs`         prepare → fit → write; load, apply, adapt
`benchmark`    representations × predictors × labels, compared in pairs
`export`       a run's models → Keras, ONNX
`explanation`  what latents and neighbors contribute
`report`       results → one page
`cli`          one verb a file

>>> import simplechrome
>>> dataset = simplechrome.open_dataset("e012.zarr")
>>> train, validation, test = simplechrome.split_by_chromosome(dataset)
>>> encoder = simplechrome.ConsensusEncoder().fit(train)
>>> predictor = simplechrome.LinearPredictor().fit(encoder.transform(train), train.label)
>>> probability = predictor.predict_proba(encoder.transform(test))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from simplechrome.errors import SimpleChromeError
from simplechrome.version import __version__

if TYPE_CHECKING:
    from simplechrome.benchmark.run import run_benchmark as run_benchmark
    from simplechrome.dataset.building.arrays import from_arrays as from_arrays
    from simplechrome.dataset.building.build import build_arrays_on_disk as build_arrays_on_disk
    from simplechrome.dataset.building.build import (
        build_deepchrome_on_disk as build_deepchrome_on_disk,
    )
    from simplechrome.dataset.building.merge import merge as merge
    from simplechrome.dataset.building.tracks import build_tracks_on_disk as build_tracks_on_disk
    from simplechrome.dataset.lookup import get_gene_data as get_gene_data
    from simplechrome.dataset.lookup import get_neighbors_data as get_neighbors_data
    from simplechrome.dataset.neighbors.contact import contact_neighbors as contact_neighbors
    from simplechrome.dataset.neighbors.functional import (
        coexpression_neighbors as coexpression_neighbors,
    )
    from simplechrome.dataset.neighbors.genomic import genomic_neighbors as genomic_neighbors
    from simplechrome.dataset.neighbors.stored import open_neighbors as open_neighbors
    from simplechrome.dataset.splits import draw_labels as draw_labels
    from simplechrome.dataset.splits import split_as_published as split_as_published
    from simplechrome.dataset.splits import split_at_random as split_at_random
    from simplechrome.dataset.splits import split_by_chromosome as split_by_chromosome
    from simplechrome.dataset.splits import split_by_fold as split_by_fold
    from simplechrome.dataset.store import open_dataset as open_dataset
    from simplechrome.dataset.store import save_dataset as save_dataset
    from simplechrome.export.run import export_run as export_run
    from simplechrome.latent.consensus.encoder import ConsensusEncoder as ConsensusEncoder
    from simplechrome.latent.encoder import RawWindow as RawWindow
    from simplechrome.latent.impute import impute as impute
    from simplechrome.latent.log_means import LogMeans as LogMeans
    from simplechrome.latent.log_means import WithLogMeans as WithLogMeans
    from simplechrome.latent.paper_vae import PaperVAE as PaperVAE
    from simplechrome.latent.pca import PCA as PCA
    from simplechrome.latent.registry import load_encoder as load_encoder
    from simplechrome.latent.registry import register_encoder as register_encoder
    from simplechrome.latent.vae import VAE as VAE
    from simplechrome.metrics import register_metric as register_metric
    from simplechrome.predictors.attentivechrome import AttentiveChrome as AttentiveChrome
    from simplechrome.predictors.boosting import BoostingPredictor as BoostingPredictor
    from simplechrome.predictors.deepchrome import DeepChrome as DeepChrome
    from simplechrome.predictors.linear import LinearPredictor as LinearPredictor
    from simplechrome.predictors.mlp import MLPPredictor as MLPPredictor
    from simplechrome.predictors.neighborhood import (
        NeighborhoodPredictor as NeighborhoodPredictor,
    )
    from simplechrome.predictors.neighborhood_features import (
        make_neighborhood_features as make_neighborhood_features,
    )
    from simplechrome.predictors.neighborhood_features import neighbor_means as neighbor_means
    from simplechrome.predictors.registry import load_predictor as load_predictor
    from simplechrome.predictors.registry import register_predictor as register_predictor
    from simplechrome.runs.apply import predict_with_run as predict_with_run
    from simplechrome.schema import validate as validate
    from simplechrome.simulation.simulate import simulate as simulate
    from simplechrome.sources.download import check_if_dataset_exists as check_if_dataset_exists
    from simplechrome.sources.tracks.readers import TrackReader as TrackReader
    from simplechrome.sources.tracks.readers import register_track_reader as register_track_reader

# Names are loaded on first use: `import simplechrome` and `simplechrome --help` must not pay for
# torch (1.1 s), accelerate (1.4 s), scikit-learn (1 s) or xarray (0.5 s).
_HOME = {
    "from_arrays": "simplechrome.dataset.building.arrays",
    "get_gene_data": "simplechrome.dataset.lookup",
    "build_arrays_on_disk": "simplechrome.dataset.building.build",
    "build_deepchrome_on_disk": "simplechrome.dataset.building.build",
    "build_tracks_on_disk": "simplechrome.dataset.building.tracks",
    "get_neighbors_data": "simplechrome.dataset.lookup",
    "genomic_neighbors": "simplechrome.dataset.neighbors.genomic",
    "coexpression_neighbors": "simplechrome.dataset.neighbors.functional",
    "contact_neighbors": "simplechrome.dataset.neighbors.contact",
    "open_neighbors": "simplechrome.dataset.neighbors.stored",
    "NeighborhoodPredictor": "simplechrome.predictors.neighborhood",
    "make_neighborhood_features": "simplechrome.predictors.neighborhood_features",
    "neighbor_means": "simplechrome.predictors.neighborhood_features",
    "predict_with_run": "simplechrome.runs.apply",
    "merge": "simplechrome.dataset.building.merge",
    "draw_labels": "simplechrome.dataset.splits",
    "split_at_random": "simplechrome.dataset.splits",
    "split_by_chromosome": "simplechrome.dataset.splits",
    "split_by_fold": "simplechrome.dataset.splits",
    "split_as_published": "simplechrome.dataset.splits",
    "open_dataset": "simplechrome.dataset.store",
    "save_dataset": "simplechrome.dataset.store",
    "run_benchmark": "simplechrome.benchmark.run",
    "register_metric": "simplechrome.metrics",
    "export_run": "simplechrome.export.run",
    "ConsensusEncoder": "simplechrome.latent.consensus.encoder",
    "impute": "simplechrome.latent.impute",
    "load_encoder": "simplechrome.latent.registry",
    "register_encoder": "simplechrome.latent.registry",
    "LogMeans": "simplechrome.latent.log_means",
    "PCA": "simplechrome.latent.pca",
    "PaperVAE": "simplechrome.latent.paper_vae",
    "RawWindow": "simplechrome.latent.encoder",
    "VAE": "simplechrome.latent.vae",
    "WithLogMeans": "simplechrome.latent.log_means",
    "AttentiveChrome": "simplechrome.predictors.attentivechrome",
    "BoostingPredictor": "simplechrome.predictors.boosting",
    "DeepChrome": "simplechrome.predictors.deepchrome",
    "LinearPredictor": "simplechrome.predictors.linear",
    "load_predictor": "simplechrome.predictors.registry",
    "register_predictor": "simplechrome.predictors.registry",
    "MLPPredictor": "simplechrome.predictors.mlp",
    "check_if_dataset_exists": "simplechrome.sources.download",
    "TrackReader": "simplechrome.sources.tracks.readers",
    "register_track_reader": "simplechrome.sources.tracks.readers",
    "simulate": "simplechrome.simulation.simulate",
    "validate": "simplechrome.schema",
}

__all__ = ["SimpleChromeError", "__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'simplechrome' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The grid and its cells: who sees what, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome import BoostingPredictor, draw_labels, load_encoder
from simplechrome.benchmark.config import BenchmarkConfig, make_benchmark_config
from simplechrome.benchmark.grid import (
    Cell,
    cell_name,
    conditions,
    drawn,
    genes_of,
    make_grid,
    permute,
)
from simplechrome.benchmark.run import (
    begun_benchmark,
    expression_elsewhere,
    gene_mean_predictions,
    run_benchmark,
)
from simplechrome.benchmark.summary import resample_benchmark, summarize
from simplechrome.benchmark.worker import Worker, cell_file, encoder_folder, read_cell
from simplechrome.errors import (
    ConfigError,
    MissingExpressionError,
    ModelFormatError,
    OutputExistsError,
    TrainingError,
    UnknownGeneError,
)

SMALL = {
    "representations": ["raw", "pca"],
    "predictors": ["linear"],
    "labels": [20, "all"],
    "seeds": 2,
    "permutations": 2,
    "permuted_labels": 20,
    "cell_types": ["SIM001"],
    "threads": 1,
}


def make(**more: Any) -> BenchmarkConfig:
    return make_benchmark_config(SMALL | more)


def fit(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    cell: Cell,
    folder: Path,
    expression: pd.DataFrame | None = None,
) -> Any:
    """One cell, in this process."""
    worker = Worker(dataset, config, folder, expression)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    worker.fit_encoder(cell)
    worker.fit_cell(cell)
    return read_cell(cell_file(folder, cell, config))


def cell_of(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    expression: pd.DataFrame | None = None,
    **wanted: Any,
) -> Cell:
    for cell in make_grid(dataset, config, expression).cells:
        if all(getattr(cell, name) == value for name, value in wanted.items()):
            return cell
    raise AssertionError(wanted)


def test_all_models_see_the_same_draws_which_are_those_of_the_protocol(dataset: xr.Dataset) -> None:
    config = make()
    cells = [cell for cell in make_grid(dataset, config).cells if not cell.permuted]
    by_draw = {(c.model.name, c.n_labels, c.draw) for c in cells if c.n_labels}
    assert by_draw == {(m, 20, d) for m in ("raw:linear", "pca:linear") for d in (0, 1)}
    genes = genes_of(dataset, config, cells[0].condition)
    train = dataset.isel(cell_type=[0], gene=genes.train)
    np.testing.assert_array_equal(
        drawn(dataset, genes, 20, 1), genes.train[draw_labels(train, 20, 1)]
    )


def test_with_all_labels_only_what_depends_on_a_seed_is_repeated(dataset: xr.Dataset) -> None:
    config = make(representations=["raw", "vae"], predictors=["linear", "mlp"], seeds=5)
    cells = make_grid(dataset, config).cells
    repeated = {
        name: [c.seed for c in cells if c.model.name == name and c.n_labels is None]
        for name in ("raw:linear", "raw:mlp", "vae:linear")
    }
    assert repeated == {"raw:linear": [0], "raw:mlp": [0, 1, 2], "vae:linear": [0, 1, 2]}


def test_an_early_end_leaves_every_model_with_as_many_draws(dataset: xr.Dataset) -> None:
    cells = [c for c in make_grid(dataset, make(seeds=4)).cells if c.n_labels and not c.permuted]
    draws = [cell.draw for cell in cells]
    assert draws == sorted(draws)


def test_slow_models_are_not_trained_on_permuted_labels(dataset: xr.Dataset) -> None:
    grid = make_grid(dataset, make(predictors=["linear", "deepchrome"]))
    assert {cell.model.name for cell in grid.cells if cell.permuted} == {"raw:linear", "pca:linear"}


def test_models_of_permuted_labels_begin_with_other_weights(dataset: xr.Dataset) -> None:
    grid = make_grid(dataset, make(representations=["raw", "vae"], permutations=3))
    permuted = [cell for cell in grid.cells if cell.permuted and cell.model.name == "vae:linear"]
    assert [(cell.draw, cell.seed, cell.encoder_seed) for cell in permuted] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 2, 0),
    ]


def test_permutation_keeps_the_labels_and_moves_them() -> None:
    labels = np.arange(12).reshape(1, 12)
    shuffled = permute(labels, 3)
    assert sorted(shuffled[0]) == list(range(12))
    assert (shuffled != labels).any()
    np.testing.assert_array_equal(shuffled, permute(labels, 3))


@pytest.mark.parametrize("n_labels", [20, None])
def test_nothing_of_a_test_gene_reaches_what_is_fitted(
    dataset: xr.Dataset, tmp_path: Path, n_labels: int | None
) -> None:
    config = make(representations=["pca"], baseline="pca:linear")
    cell = cell_of(dataset, config, n_labels=n_labels, permuted=False)
    test = genes_of(dataset, config, cell.condition).test
    changed = dataset.copy(deep=True)
    changed["signal"].values[:, test] = 7
    changed["label"].values[:, test] = 1 - changed["label"].values[:, test]
    changed["expression"].values[:, test] = 99
    files = []
    for name, data in (("one", dataset), ("other", changed)):
        (tmp_path / name).mkdir()
        fit(data, config, cell, tmp_path / name)
        encoder = encoder_folder(tmp_path / name, cell, config)
        files.append((encoder / "model.safetensors").read_bytes())
    assert files[0] == files[1]
    # The predictor, too: where only labels differ, so do not the predictions.
    relabelled = dataset.assign(label=changed["label"], expression=changed["expression"])
    (tmp_path / "third").mkdir()
    one = read_cell(cell_file(tmp_path / "one", cell, config))
    third = fit(relabelled, config, cell, tmp_path / "third")
    np.testing.assert_array_equal(one.predictions["SIM001"], third.predictions["SIM001"])


@pytest.mark.parametrize(
    "model",
    [
        "raw:linear",
        "pca+genomic.expression:linear",
        "pca+contact.elsewhere:neighborhood",
        "pca+gene_mean+coexpression.expression:neighborhood",
    ],
)
def test_with_n_labels_no_other_label_chooses_anything(
    dataset: xr.Dataset, tmp_path: Path, model: str
) -> None:
    config = make(models=[model], baseline=model)
    levels = np.random.default_rng(0).random((dataset.sizes["gene"], 7))
    table = pd.DataFrame(levels, dataset["gene_id"].values, ["SIM001", *"ABCDEF"])
    cell = cell_of(dataset, config, table, n_labels=20, draw=1, permuted=False)
    genes = genes_of(dataset, config, cell.condition)
    others = np.setdiff1d(np.arange(dataset.sizes["gene"]), drawn(dataset, genes, 20, 1))
    changed = dataset.copy(deep=True)
    changed["label"].values[:, others] = 1 - changed["label"].values[:, others]
    changed["expression"].values[0] = changed["expression"].values[0, ::-1]
    results = [
        fit(data, config, cell, tmp_path / name, expression)
        for name, data, expression in (
            ("one", dataset, table),
            ("other", changed, table.assign(SIM001=1 - table["SIM001"])),
        )
    ]
    np.testing.assert_array_equal(*[r.predictions["SIM001"] for r in results])


def test_with_all_labels_validation_genes_choose(dataset: xr.Dataset, tmp_path: Path) -> None:
    config = make(predictors=["boosting"], baseline="raw:boosting")
    cell = cell_of(dataset, config, n_labels=None, permuted=False)
    result = fit(dataset, config, cell, tmp_path)
    genes = genes_of(dataset, config, cell.condition)
    windows = load_encoder(encoder_folder(tmp_path, cell, config)).transform(
        dataset.isel(cell_type=[0])
    )
    label = dataset["label"].isel(cell_type=[0])
    head = BoostingPredictor().fit(
        windows.isel(gene=genes.train),
        label.isel(gene=genes.train),
        validation=(windows.isel(gene=genes.validation), label.isel(gene=genes.validation)),
    )
    expected = np.asarray(head.predict_proba(windows.isel(gene=genes.test)))[0, :, 1]
    np.testing.assert_allclose(result.predictions["SIM001"], expected, rtol=1e-6)
    assert result.chosen == f"{head.n_iter_} trees"


def test_transfer_scores_the_same_model_in_another_cell_type(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    config = make(transfer=["SIM002"])
    cell = cell_of(dataset, config, n_labels=20, draw=0, permuted=False)
    result = fit(dataset, config, cell, tmp_path)
    assert list(result.predictions) == ["SIM001", "SIM002"]
    own, other = result.predictions.values()
    assert own.shape == other.shape
    assert not np.array_equal(own, other)


def test_grid_is_checked_before_anything_is_fitted(dataset: xr.Dataset, tmp_path: Path) -> None:
    for more, kind, message in (
        ({"labels": [10_000]}, MissingExpressionError, "10000 labelled genes cannot be drawn"),
        ({"labels": [1]}, ConfigError, "numbers from 2 up"),
        ({"cell_types": ["SIM009"]}, UnknownGeneError, "no cell type 'SIM009'"),
        ({"cell_types": None, "transfer": ["SIM001", "SIM002"]}, ConfigError, "No cell type is le"),
    ):
        with pytest.raises(kind, match=message):
            run_benchmark(dataset, make(**more), tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_mean_expression_elsewhere_leaves_out_the_predicted_cell_type(dataset: xr.Dataset) -> None:
    few = dataset.isel(gene=[0, 1, 2])
    few["expression"].values[:] = [[100, 100, 100], [3, np.nan, 0]]
    # log2(3 + 1) = 2; unknown; log2(0 + 1) = 0
    np.testing.assert_array_equal(expression_elsewhere(few, "SIM001"), [2, np.nan, 0])
    ids = few["gene_id"].values
    table = pd.DataFrame({"SIM001": [9.0, 9, 9], "X": [0.0, 15, 3]}, index=ids)
    # With X: (2 + 0) / 2, log2(16) = 4, (0 + 2) / 2. SIM001 of the table is left out as well.
    np.testing.assert_array_equal(expression_elsewhere(few, "SIM001", table), [1, 4, 1])
    alone = few.isel(cell_type=[0])
    assert expression_elsewhere(alone, "SIM001") is None


def test_gene_mean_orders_genes_by_what_they_do_elsewhere() -> None:
    prior = np.array([0.0, 1, 2, 3, np.nan, 5])
    y = np.array([0, 0, 1, 1, 0, 1])
    train, test = np.array([0, 1, 2, 3]), np.array([4, 5])
    unknown, high = gene_mean_predictions(prior, y, train, test, "classification")
    assert high > 0.5
    assert unknown == pytest.approx(0.5)  # the mean of the four, half of which are high


@pytest.fixture(scope="module")
def finished(dataset: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "b"
    run_benchmark(dataset, make(), folder, jobs=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.glob("cells/*") if path.suffix != ".json"
    }


def test_results_hold_every_cell_and_the_baselines(dataset: xr.Dataset, finished: Path) -> None:
    benchmark = run_benchmark(dataset, make(), finished, resume=True)
    [(condition, scored)] = benchmark.results.test_sets.items()
    assert condition == ("SIM001", "within", "SIM001", "chromosome", 0)
    models = scored.cells["representation"] + ":" + scored.cells["predictor"]
    # Two models with two draws of 20 labels, and all labels once.
    assert models.value_counts().to_dict() == {
        "raw:linear": 3,
        "pca:linear": 3,
        "none:majority": 1,
        "none:gene_mean": 1,
    }
    assert scored.predictions.shape == (8, len(scored.genes))
    assert set(scored.genes["chrom"]) <= {"chr1", "chr8", "chr21"}
    constant = scored.predictions[(models == "none:majority").to_numpy().nonzero()[0][0]]
    assert np.unique(constant).size == 1
    controls = benchmark.results.controls
    assert controls.groupby("representation").size().to_dict() == {"raw": 2, "pca": 2}


def test_a_grid_grows_by_the_cells_that_it_lacks(dataset: xr.Dataset, finished: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in finished.glob("cells/*")}
    larger = make(labels=[20, 30, "all"])
    run_benchmark(dataset, larger, finished, resume=True)
    after = {path.name: path.stat().st_mtime_ns for path in finished.glob("cells/*")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 4  # two models, two draws
    assert begun_benchmark(finished) == finished / "benchmark.toml"


def test_what_is_there_is_not_replaced_without_being_asked(
    dataset: xr.Dataset, finished: Path
) -> None:
    with pytest.raises(OutputExistsError, match="exists already"):
        run_benchmark(dataset, make(), finished)
    other = dataset.isel(gene=slice(0, 290))
    with pytest.raises(ConfigError, match="benchmark of other data"):
        run_benchmark(other, make(), finished, resume=True)
    (finished / "thesis.doc").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"is not a benchmark[^!]*thesis.doc"):
        run_benchmark(dataset, make(), finished, overwrite=True)
    (finished / "thesis.doc").unlink()


def test_damaged_cell_is_named(dataset: xr.Dataset, finished: Path) -> None:
    config = make()
    cell = cell_of(dataset, config, n_labels=20)
    path = cell_file(finished, cell, config)
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    with pytest.raises(ModelFormatError, match=f"{cell_name(cell, config)}[^!]*fitted again"):
        read_cell(path)
    path.unlink()
    run_benchmark(dataset, config, finished, resume=True)
    # Seconds differ from fit to fit; what is predicted does not.
    again = read_cell(path)
    path.write_bytes(whole)
    before = read_cell(path)
    np.testing.assert_array_equal(again.predictions["SIM001"], before.predictions["SIM001"])


def test_a_cell_that_cannot_be_fitted_costs_no_other(dataset: xr.Dataset, tmp_path: Path) -> None:
    broken = {"name": "mlp", "learning_rate": 1e30, "epochs": 3, "clip_gradients": False}
    config = make(
        predictors=["linear", "broken"],
        variants={"broken": broken},
        labels=[20],
        seeds=1,
        permutations=0,
        representations=["raw"],
    )
    with pytest.raises(TrainingError, match=r"1 of 2 cells[^!]*raw:broken with 20 labels"):
        run_benchmark(dataset, config, tmp_path / "b")
    assert len(list((tmp_path / "b.unfinished" / "cells").iterdir())) == 1
    without = make(labels=[20], seeds=1, permutations=0, representations=["raw"])
    run_benchmark(dataset, without, tmp_path / "b", resume=True)
    assert (tmp_path / "b").is_dir()


def test_folds_of_unequal_size_are_one_number_of_labels(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    config = make(
        labels=["all"],
        representations=["raw"],
        predictors=["linear"],
        splits=["fold"],
        n_folds=4,
        permutations=0,
    )
    benchmark = run_benchmark(dataset, config, tmp_path / "b", jobs=1)
    places = conditions(dataset, config)
    assert len({genes_of(dataset, config, place).train.size for place in places}) > 1
    counts = {n for each in benchmark.results.test_sets.values() for n in each.cells["n_labels"]}
    assert len(counts) == 1
    summary = summarize(resample_benchmark(benchmark.results, n_resamples=20))
    assert len(summary.query("predictor == 'linear' and metric == 'auroc'")) == 1

"""Options of every encoder and predictor: one section of a configuration each.

Defaults here equal those of the estimators (a test compares them).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Transform = Literal["log1p", "asinh", "sqrt", "none", "maximum"]


class Section(BaseModel):
    """Options that refuse unknown names, and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VAEConfig(Section):
    """The variational autoencoder; see `simplechrome.VAE`."""

    name: Literal["vae"] = "vae"
    n_latent: int = Field(10, ge=1)
    channels: tuple[int, ...] = (32, 64)
    hidden: int = Field(64, ge=1)
    kernel: int = Field(5, ge=1)
    kl_weight: float = Field(1.0, ge=0)
    kl_warm_up: int = Field(5, ge=0)
    epochs: int = Field(12, ge=1)
    patience: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    transform_function: Transform = "log1p"
    precision: Literal["float32", "bfloat16"] = "float32"


class ConsensusConfig(Section):
    """What marks and cell types agree upon; see `simplechrome.ConsensusEncoder`."""

    name: Literal["consensus"] = "consensus"
    n_latent: int = Field(38, ge=2)


class PaperVAEConfig(Section):
    """The autoencoder of the SimpleChrome paper; see `simplechrome.PaperVAE`."""

    name: Literal["paper_vae"] = "paper_vae"
    n_latent: int = Field(10, ge=1)
    channels: tuple[int, ...] = (32, 64)
    kernel: int = Field(5, ge=1)
    slope: float = 0.5
    noise_variance: float = Field(0.0125, gt=0)
    epochs: int = Field(5, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"


class PCAConfig(Section):
    """Principal components; see `simplechrome.PCA`."""

    name: Literal["pca"] = "pca"
    n_latent: int = Field(10, ge=1)
    transform_function: Transform = "log1p"


class LogMeansConfig(Section):
    """Levels of the marks; see `simplechrome.LogMeans`."""

    name: Literal["log_means"] = "log_means"
    n_regions: int = Field(1, ge=1)


class NoEncoderConfig(Section):
    """The window itself; see `simplechrome.RawWindow`."""

    name: Literal["none"] = "none"
    transform_function: Transform = "log1p"


class LinearConfig(Section):
    """Logistic or ridge regression; see `simplechrome.LinearPredictor`."""

    name: Literal["linear"] = "linear"
    Cs: tuple[float, ...] = (
        *(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        *(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    )
    n_folds: int = Field(5, ge=2)
    default_C: float = Field(0.1, gt=0)  # scikit-learn's name


class MLPConfig(Section):
    """A multilayer perceptron; see `simplechrome.MLPPredictor`."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (256, 128)
    dropout: float = Field(0.3, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    early_stopping: bool = True  # scikit-learn's name
    patience: int = Field(6, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    clip_gradients: bool = True
    initialization: Literal["uniform", "he_normal"] = "uniform"
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


class BoostingConfig(Section):
    """Gradient-boosted trees; see `simplechrome.BoostingPredictor`."""

    name: Literal["boosting"] = "boosting"
    max_iter: int = Field(200, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    max_leaf_nodes: int = Field(8, ge=2)
    min_samples_leaf: int = Field(20, ge=1)
    l2_regularization: float = Field(1.0, ge=0)
    max_features: float = Field(0.1, gt=0, le=1)
    max_bins: int = Field(63, ge=2, le=255)
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


class DeepChromeConfig(Section):
    """A convolution over bins; see `simplechrome.DeepChrome`."""

    name: Literal["deepchrome"] = "deepchrome"
    filters: int = Field(64, ge=1)
    kernel: int = Field(10, ge=1)
    pool: int = Field(5, ge=1)
    hidden: tuple[int, ...] = (128,)
    dropout: float = Field(0.5, ge=0, lt=1)
    epochs: int = Field(15, ge=1)
    early_stopping: bool = True
    patience: int = Field(15, ge=1)
    batch_size: int = Field(32, ge=1)
    min_batches: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_gradients: bool = True
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"


class AttentiveChromeConfig(Section):
    """Recurrent layers with attention; see `simplechrome.AttentiveChrome`."""

    name: Literal["attentivechrome"] = "attentivechrome"
    bin_hidden: int = Field(32, ge=1)
    mark_hidden: int = Field(16, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(20, ge=1)
    early_stopping: bool = True
    patience: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=1)
    min_batches: int = Field(16, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(5e-2, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_gradients: bool = True
    n_folds: int = Field(3, ge=2)
    hold_out_from: int = Field(500, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"


class NeighborhoodConfig(Section):
    """Attention over neighbors; see `simplechrome.NeighborhoodPredictor`."""

    name: Literal["neighborhood"] = "neighborhood"
    own: Literal["linear", "mlp", "boosting", "none"] = "linear"
    heads: int = Field(2, ge=1)
    width: int = Field(8, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    early_stopping: bool = True
    patience: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


EncoderConfig = (
    VAEConfig | ConsensusConfig | PaperVAEConfig | PCAConfig | LogMeansConfig | NoEncoderConfig
)
PredictorConfig = (
    LinearConfig
    | MLPConfig
    | BoostingConfig
    | DeepChromeConfig
    | AttentiveChromeConfig
    | NeighborhoodConfig
)
ENCODERS: dict[str, type[EncoderConfig]] = {
    "consensus": ConsensusConfig,
    "vae": VAEConfig,
    "paper_vae": PaperVAEConfig,
    "pca": PCAConfig,
    "log_means": LogMeansConfig,
    "none": NoEncoderConfig,
}
LATENT_ENCODERS = ("consensus", "vae", "paper_vae", "pca")
PREDICTORS: dict[str, type[PredictorConfig]] = {
    "linear": LinearConfig,
    "mlp": MLPConfig,
    "boosting": BoostingConfig,
    "deepchrome": DeepChromeConfig,
    "attentivechrome": AttentiveChromeConfig,
    "neighborhood": NeighborhoodConfig,
}
DIFFERENCES = ("mlp", "linear")
"""Predictors that have an antisymmetric form."""
NEED_WINDOWS = ("deepchrome", "attentivechrome")
"""Predictors that look along the bins, and have nothing to look at in latents."""

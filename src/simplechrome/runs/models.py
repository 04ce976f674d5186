"""Configurations to estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simplechrome.config.run import RunConfig

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder
    from simplechrome.predictors.predictor import Predictor


def make_encoder(config: RunConfig) -> Encoder:
    """Which unfitted encoder does this configuration describe?

    Raises
    ------
    ConfigError
        If log means are to be added to an encoder without latents.
    """
    encoder = _make_encoder(config)
    if not config.add_log_means:
        return encoder
    from simplechrome.latent.with_log_means import WithLogMeans

    return WithLogMeans(encoder)


def _make_encoder(config: RunConfig) -> Encoder:
    arguments = config.encoder.model_dump(exclude={"name"})
    match config.encoder.name:
        case "vae":
            # torch and accelerate take 2.5 s to import: only where they are used.
            from simplechrome.latent.vae import VAE

            return VAE(
                **arguments,
                device=config.device,
                threads=config.threads,
                random_state=config.seed,
            )
        case "paper_vae":
            from simplechrome.latent.paper_vae import PaperVAE

            return PaperVAE(
                **arguments,
                device=config.device,
                threads=config.threads,
                random_state=config.seed,
            )
        case "consensus":
            from simplechrome.latent.consensus.encoder import ConsensusEncoder

            return ConsensusEncoder(**arguments)
        case "pca":
            from simplechrome.latent.pca import PCA

            return PCA(**arguments)
        case "log_means":
            from simplechrome.latent.log_means import LogMeans

            return LogMeans(**arguments)
        case "none":
            from simplechrome.latent.raw_window import RawWindow

            return RawWindow(**arguments)


def make_predictor(config: RunConfig) -> Predictor:
    """Which unfitted predictor does this configuration describe?"""
    arguments = config.predictor.model_dump(exclude={"name"}) | {"random_state": config.seed}
    if config.task == "difference":
        if config.predictor.name == "linear":
            from simplechrome.predictors.difference import DifferenceLinear

            return DifferenceLinear("regression", **arguments)
        from simplechrome.predictors.difference import DifferenceMLP

        return DifferenceMLP("regression", **arguments, threads=config.threads)
    match config.predictor.name:
        case "linear":
            from simplechrome.predictors.linear import LinearPredictor

            return LinearPredictor(config.task, **arguments)
        case "mlp":
            from simplechrome.predictors.mlp import MLPPredictor

            # Networks this small are faster on the CPU than the way to a GPU.
            return MLPPredictor(config.task, **arguments, threads=config.threads)
        case "boosting":
            from simplechrome.predictors.boosting import BoostingPredictor

            return BoostingPredictor(config.task, **arguments)
        case "neighborhood":
            from simplechrome.predictors.neighborhood import NeighborhoodPredictor

            return NeighborhoodPredictor(config.task, **arguments, threads=config.threads)
        case "deepchrome":
            from simplechrome.predictors.deepchrome import DeepChrome

            return DeepChrome(
                config.task, **arguments, device=config.device, threads=config.threads
            )
        case "attentivechrome":
            from simplechrome.predictors.attentivechrome import AttentiveChrome

            return AttentiveChrome(
                config.task, **arguments, device=config.device, threads=config.threads
            )

"""Method and limits of a benchmark, as paragraphs for its page and its write-up."""

from __future__ import annotations

from simplechrome.benchmark.config import ALL, OPTIMISTIC_SPLITS
from simplechrome.benchmark.run import Benchmark
from simplechrome.report.figures.style import counted


def method_paragraphs(benchmark: Benchmark) -> list[str]:
    """Return the method: what was fitted on what, how settings were chosen, how intervals arise."""
    config = benchmark.config
    paragraphs = [
        "Each model is a representation of the window around a gene's TSS, learned without labels, "
        "and a predictor on top of it. Representations are fitted on training windows; a VAE stops "
        "on validation windows. No window or label of a test gene is used in fitting."
    ]
    few = [n for n in config.labels if n != ALL]
    if few:
        numbers = ", ".join(f"{n:,}" for n in few)
        paragraphs.append(
            f"With {numbers} labels, {counted(config.seeds, 'draw')} of that many training genes "
            f"{'were' if config.seeds > 1 else 'was'} made "
            "(`numpy.random.default_rng(draw).choice` from the training genes sorted by id), the "
            "same for all models; draw s also seeds the weights. Nothing but these labels chooses "
            "penalties, epochs or numbers of trees: they are found by cross-validation, or on a "
            "held-out part, within them. All other settings are fixed beforehand."
        )
    if ALL in config.labels:
        seeds_all = min(config.seeds, config.seeds_all)
        paragraphs.append(
            "With all labels, validation genes choose epochs and numbers of trees, and "
            "cross-validation within the training genes the penalty of linear heads; models that "
            f"depend on a seed were fitted with {counted(seeds_all, 'seed')}. Nothing is refitted "
            "on validation genes."
        )
    heads = {model.head.name for model in benchmark.grid.models.applicable}
    if "linear" in heads:
        paragraphs.append(
            "Linear heads take, of all penalties whose cross-validated loss lies within one "
            "standard error of the least, the strongest (which orders genes best), and then scale "
            "their predictions to those of the penalty with the least loss (which changes no "
            "order, but accuracies and calibration). Penalties weigh features as they come, "
            "centered and never rescaled: windows as a function of the signal divided by each "
            "mark's deviation in training windows, one number per mark; PCA as scores in units of "
            "the first component's deviation; VAE latents on the scale of their least-squares "
            "effect on the window; means of marks standardized."
        )
    paragraphs.append(
        "Scores are means over draws. Their 95 % intervals come from a bootstrap of draws and of "
        "runs of 50 neighboring test genes, 1,000 times: each chromosome is cut into runs of equal "
        "length, which are drawn among themselves; and the part that draws bring is widened as for "
        "Student's t. Differences are taken on the same draws and genes, so that what is hard for "
        "both models cancels."
    )
    if config.task == "classification":
        paragraphs.append(
            "Accuracies are at a probability of .5. Calibration errors are over 15 bins of equally "
            "many genes, of the models' own probabilities; `simplechrome fit` calibrates them "
            "further, on genes that were held out."
        )
    return paragraphs


def limits(benchmark: Benchmark) -> list[str]:
    """Return what these figures do not show."""
    config = benchmark.config
    lines = [
        "All models share the test genes of a split. The bootstrap of runs of genes says how "
        "scores vary over genes like these, not over other chromosomes, cell types or "
        "laboratories.",
        f"{counted(config.seeds, 'draw')} of labels estimate the variation between draws only "
        f"roughly, and {counted(min(config.seeds, config.seeds_all), 'seed')} with all labels that "
        "between weights. Intervals are widened as for Student's t; those of a single draw or seed "
        "hold the variation between genes only.",
        "Comparisons are many and their intervals are not corrected for that: where there is no "
        "difference, one of twenty excludes 0 by chance. A bound within some .0002 of 0 may lie on "
        "its other side with other resamples.",
        "The highest of many is chosen by its score on these genes, so its score is optimistic.",
        "Default settings of the models were chosen during development, on validation chromosomes "
        "of the published cell type E012.",
    ]
    if set(config.splits) - set(OPTIMISTIC_SPLITS):
        lines.append(
            "Where whole chromosomes are held out, genes that share windows with a test gene are "
            "held out with it; what chromosomes have in common (duplicated genes, gene families) "
            "is not."
        )
    if config.transfer:
        lines.append(
            "Models are scored in other cell types without adapting to their depth: order is "
            "comparable there, probabilities are not."
        )
    return lines

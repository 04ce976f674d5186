"""Grids that are worth a name."""

from __future__ import annotations

from typing import Any

from simplechrome.evaluation.neighbor_choice import KINDS

ALL = "all"
"""Of labels: those of all training genes."""
NEIGHBORHOOD = "neighborhood"
"""The predictor that attends to neighbors."""

PAPER: dict[str, Any] = {
    "models": [
        *("raw@paper:mlp@paper", "raw@paper:deepchrome@paper", "raw@paper:attentivechrome@paper"),
        "paper_vae:mlp@paper",
        *("raw:mlp", "raw:deepchrome", "raw:attentivechrome", "vae:mlp"),
        *("raw:linear", "vae:linear", "pca:linear"),
    ],
    "labels": [100, 1000, ALL],
    "baseline": "raw@paper:mlp@paper",
}
"""The comparison of the SimpleChrome paper: its four models in its own settings, the same four in
ours, and the linear head on window, latents and principal components."""


def _neighbor_models() -> list[str]:
    """Each kind of neighbors beside its controls, and bands of distance, with three heads."""
    own = "pca+log_means"
    heads = ("linear", "boosting", NEIGHBORHOOD)
    every = [f"{own}:{head}" for head in heads[:2]]
    # Co-expressed genes tell what a gene usually does. Do they tell more than that?
    every += [f"{own}+gene_mean:{head}" for head in heads[:2]]
    for control in ("", ".shuffled"):
        every += [f"{own}+gene_mean+coexpression{control}:{head}" for head in heads]
    for kind in KINDS:
        for control in ("", ".shuffled", ".elsewhere"):
            every += [f"{own}+{kind}{control}:{head}" for head in heads]
        every += [f"{own}+{kind}.only:{head}" for head in heads]
    for some in ("genomic.apart", "genomic.apart.n2", "contact.apart", "coexpression.apart"):
        for control in ("", ".shuffled"):
            every += [f"{own}+{some}{control}:{head}" for head in heads[1:]]
    for band in ("0-10kb", "10-50kb", "50-200kb", "200-1000kb"):
        for control in ("", ".shuffled"):
            every += [f"{own}+genomic.{band}{control}:{NEIGHBORHOOD}"]
    return every


NEIGHBORS: dict[str, Any] = {
    "models": _neighbor_models(),
    "labels": [100, 1000, ALL],
    "baseline": "pca+log_means:linear",
    # Shuffled neighbors are the control here; every model's predictions are compared with
    # permuted labels as well.
    "permutations": 0,
    "seeds_all": 10,
}
"""Does a gene's surrounding add to its own window? Each kind of neighbors, against the gene alone,
against other genes in their places, and alone."""
BENCHMARK_PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "neighbors": NEIGHBORS}

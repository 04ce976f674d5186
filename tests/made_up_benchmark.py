"""A benchmark whose answers are known: predictions made from the labels themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from simplechrome.benchmark.summary import CELL, BenchmarkResults, TestSet

STRENGTHS = {"raw:linear": 1.0, "pca:linear": 1.0, "vae:linear": 1.6, "raw:mlp": 0.7}
"""How far predictions follow the labels. pca is as good as raw, vae better, the MLP worse."""


def made_up_test_set(
    strengths: Mapping[str, float] = STRENGTHS,
    *,
    n_genes: int = 400,
    draws: int = 5,
    task: str = "classification",
    seed: int = 0,
) -> TestSet:
    """Models that share most of their noise, as models of the same windows do."""
    random = np.random.default_rng(seed)
    level = random.normal(size=n_genes)
    label = (level > np.median(level)).astype(float)
    target = label if task == "classification" else level
    shared = random.normal(size=n_genes)
    rows, predictions = [], []
    for n_labels, all_labels in ((20, False), (1000, True)):
        for draw in range(1 if all_labels else draws):
            luck = 0.3 * random.normal(size=n_genes)
            for name, strength in strengths.items():
                own = 0.2 * random.normal(size=n_genes)
                value = strength * level + shared + luck + own
                value = value if task == "regression" else 1 / (1 + np.exp(-value))
                key = (*name.split(":"), n_labels, all_labels, draw, draw)
                rows.append(dict(zip(CELL, key, strict=True)) | {"seconds": 1.0, "chosen": "C 1"})
                predictions.append(value)
    constant = np.full(n_genes, 0.5)
    key = ("none", "majority", 1000, True, 0, 0)
    rows.append(dict(zip(CELL, key, strict=True)) | {"seconds": 0.0, "chosen": ""})
    predictions.append(constant)
    genes = pd.DataFrame(
        {
            "gene_id": [f"g{k:04d}" for k in range(n_genes)],
            "chrom": np.repeat(["chr1", "chr8"], n_genes // 2),
            "tss": np.tile(np.arange(n_genes // 2), 2),
            "target": target,
        }
    )
    return TestSet(genes, pd.DataFrame(rows), np.stack(predictions).astype(np.float32))


def made_up_results(task: str = "classification", n_cell_types: int = 1) -> BenchmarkResults:
    """One or several cell types, models trained on permuted labels, an unsupported model."""
    names = [f"C{k}" for k in range(n_cell_types)]
    test_sets = {
        (name, "within", name, "chromosome", 0): made_up_test_set(task=task, seed=k)
        for k, name in enumerate(names)
    }
    random = np.random.default_rng(9)
    chance = 0.5 if task == "classification" else 0.0
    controls = [
        {
            **{"cell_type": "C0", "protocol": "within", "trained_on": "C0"},
            **{"split": "chromosome", "fold": 0, "representation": representation},
            **{"predictor": "linear", "n_labels": 20, "all_labels": False},
            **{"draw": draw, "seed": 0, "value": chance + shift + 0.1 * random.normal()},
        }
        # Windows that leak: their mean lies far above chance.
        for representation, shift in (("raw", 0.0), ("vae", 0.2))
        for draw in range(50)
    ]
    not_applicable = pd.DataFrame(
        [("pca", "deepchrome", "looks along the bins")],
        columns=["representation", "predictor", "reason"],
    )
    return BenchmarkResults(task, test_sets, pd.DataFrame(controls), not_applicable)

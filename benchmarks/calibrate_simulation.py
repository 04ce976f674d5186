"""How close simulated windows and expression come to the real ones.

Prints the figures that `simplechrome.simulation.simulate` is calibrated to, measured alike on the
real cell type E012 and on simulated data of the same size, side by side:

    python benchmarks/calibrate_simulation.py [--data ../shared/data] [--seed 0] [--scores]

`--scores` adds the mean test AUROC of logistic regression by the protocol of the project
(training chromosomes, numbers of labels; several minutes).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.dataset.splits import TEST_CHROMOSOMES, VALIDATION_CHROMOSOMES
from simplechrome.dataset.store import open_dataset
from simplechrome.simulation.model import MARKS
from simplechrome.simulation.simulate import simulate

N_LABELS = (20, 100, 1000)
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0, 10.0)  # C, the inverse of the penalty
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Figures = Iterator[tuple[str, float]]


class Data(NamedTuple):
    """One cell type: signal (gene, bin, mark), RPKM, and the genes' places."""

    signal: np.ndarray
    rpkm: np.ndarray
    genes: pd.DataFrame

    @property
    def expression(self) -> np.ndarray:
        return np.log2(self.rpkm + 1)

    @property
    def level(self) -> np.ndarray:
        """(gene, mark), log mean of the window."""
        return np.log1p(self.signal.mean(1, dtype=np.float64))

    def rows(self) -> tuple[np.ndarray, ...]:
        """Genes of the training, validation and test chromosomes, by id."""
        genes = self.genes.reset_index(drop=True).sort_values("gene_id")
        test, held = (genes["chrom"].isin(c) for c in (TEST_CHROMOSOMES, VALIDATION_CHROMOSOMES))
        return tuple(genes.index[part].to_numpy() for part in (~test & ~held, held, test))


def read_real(folder: Path) -> Data:
    with tempfile.TemporaryDirectory() as temporary:
        path = build_deepchrome_on_disk(
            folder / "deepchrome_layout_E012.tar.gz",
            Path(temporary) / "e012.zarr",
            genes=folder / "genes_hg19.tsv.gz",
            expression=folder / "rpkm_54cells.tsv.gz",
        )
        dataset = open_dataset(path).sel(mark=list(MARKS))
    genes = pd.DataFrame({n: dataset[n].values for n in ("gene_id", "chrom", "tss", "strand")})
    return Data(dataset["signal"].values[0], dataset["expression"].values[0], genes)


def levels(data: Data) -> Figures:
    for m, mark in enumerate(MARKS):
        signal = data.signal[..., m]
        yield f"{mark}: mean reads per bin", signal.mean()
        yield f"{mark}: share of bins without a read", (signal == 0).mean()
        yield f"{mark}: largest count", signal.max()
        for q in QUANTILES:
            yield f"{mark}: log level, quantile {q}", np.quantile(data.level[:, m], q)
    with_expression = np.corrcoef(np.c_[data.level, data.expression].T)
    names = (*MARKS, "expression")
    for i, j in np.argwhere(np.tri(6, k=-1)):
        yield f"correlation of levels {names[j]} × {names[i]}", with_expression[i, j]


def profiles(data: Data) -> Figures:
    cuts = np.quantile(data.expression, [0, 1 / 3, 2 / 3, 1])
    edges = (0, 20, 40, 45, 49, 52, 57, 65, 80, 100)
    for k, name in enumerate(("low", "middle", "high")):
        inside = (data.expression >= cuts[k]) & (data.expression <= cuts[k + 1])
        for start, end in pairwise(edges):
            for mark, mean in zip(MARKS, data.signal[inside, start:end].mean((0, 1)), strict=True):
                yield f"{mark}, {name} third, bins {start}–{end - 1}", mean


def noise(data: Data) -> Figures:
    """Difference of adjacent bins against those around them: mostly counting noise."""
    log_signal = np.log1p(data.signal)
    residual = log_signal - log_signal.mean(0)
    residual -= residual.mean(1, keepdims=True)
    for m, mark in enumerate(MARKS):
        x, r = data.signal[..., m].astype(np.float64), residual[..., m]
        around = (x[:, :-3] + x[:, 3:]) / 2
        left, right = x[:, 1:-2], x[:, 2:-1]
        for low, high in ((0.9, 1.1), (3, 6), (8, 12), (16, 24), (35, 45)):
            here = (around >= low) & (around <= high)
            if here.sum() > 500:
                ratio = ((left - right)[here] ** 2).mean() / 2 / left[here].mean()
                yield f"{mark}: variance / mean of adjacent bins near {low}–{high}", ratio
        for lag in (1, 2, 5, 10, 20, 50):
            value = (r[:, lag:] * r[:, :-lag]).mean() / (r**2).mean()
            yield f"{mark}: autocorrelation along bins, lag {lag}", value


def genome(data: Data) -> Figures:
    frame = data.genes.reset_index(drop=True).sort_values(["chrom", "tss"])
    chrom = frame["chrom"].to_numpy()
    same = chrom[1:] == chrom[:-1]
    gap = np.where(same, np.diff(frame["tss"]), np.inf)
    nearest = np.minimum(np.append(gap, np.inf), np.insert(gap, 0, np.inf))
    yield "share of genes with an overlapping window", (nearest < 10_000).mean()
    yield "share of genes with another within 1 kb", (nearest < 1_000).mean()
    for q in QUANTILES:
        value = np.log10(np.quantile(gap[same], q) + 1)
        yield f"gap between genes, log10 bp, quantile {q}", value
    for name, v in zip((*MARKS, "expression"), (*data.level.T, data.expression), strict=True):
        v = v[frame.index]
        for lag in (1, 2, 10):
            pair = chrom[lag:] == chrom[:-lag]
            value = np.corrcoef(v[lag:][pair], v[:-lag][pair])[0, 1]
            yield f"{name}: correlation with neighbor {lag}", value
        for low, high in ((0, 3), (3, 10), (10, 30), (30, 100), (100, 300)):
            pair = (gap >= 1000 * low) & (gap < 1000 * high)
            value = np.corrcoef(v[1:][pair], v[:-1][pair])[0, 1]
            yield f"{name}: correlation at {low}–{high} kb", value


def expression(data: Data) -> Figures:
    yield "expression: share with RPKM 0", (data.rpkm == 0).mean()
    for low, high in ((0, 0.5), (0.5, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 7), (7, 20)):
        share = ((data.expression >= low) & (data.expression < high)).mean()
        yield f"expression: share in log2(RPKM+1) {low}–{high}", share
    for b in (2, 35, 42, 46, 49, 52, 55, 60, 70, 97):
        for m, mark in enumerate(MARKS):
            r = np.corrcoef(data.expression, np.log1p(data.signal[:, b, m]))[0, 1]
            yield f"expression × {mark} in bin {b}", r


def standardized(data: Data) -> np.ndarray:
    log_signal, train = np.log1p(data.signal.astype(np.float32)), np.sort(data.rows()[0])
    log_signal -= log_signal[train].mean((0, 1))
    log_signal /= log_signal[train].std((0, 1))
    return log_signal.reshape(len(log_signal), -1)


def components(data: Data) -> Figures:
    pca = PCA(10, random_state=0).fit(standardized(data))
    for k, share in enumerate(pca.explained_variance_ratio_):
        yield f"PCA: share of variance of component {k + 1}", share


def scores(data: Data) -> Figures:
    """Mean test AUROC, the penalty being the best on the validation chromosomes."""
    label = (data.rpkm > np.median(data.rpkm)).astype(int)
    train, validation, test = data.rows()
    rows, raw, n_genes = np.sort(train), standardized(data), len(data.rpkm)
    regions = data.signal.astype(np.float64).reshape(n_genes, 5, 20, 5).mean(2)
    pca = PCA(10, random_state=0).fit(raw[rows]).transform(raw)
    ways = {
        "5 log-means": data.level,
        "25 log-region-means": np.log1p(regions).reshape(n_genes, -1),
    }
    ways = {name: (v - v[rows].mean(0)) / v[rows].std(0) for name, v in ways.items()}
    for name, x in (ways | {"raw 500": raw, "PCA 10": pca / pca[rows, 0].std()}).items():
        for n in (*N_LABELS, train.size):
            result = []
            for draw in range(1 if n == train.size else 10):
                chosen = np.random.default_rng(draw).choice(train, n, replace=False)
                fits = [
                    LogisticRegression(C=c, max_iter=300).fit(x[chosen], label[chosen])
                    for c in PENALTIES[: 5 if x.shape[1] > 100 else None]
                ]
                result.append(
                    [
                        [roc_auc_score(label[k], fit.decision_function(x[k])) for fit in fits]
                        for k in (validation, test)
                    ]
                )
            held, tested = np.mean(result, axis=0)
            amount = "all" if n == train.size else f"{n:,}"
            yield f"AUROC, {name}, {amount} labels", tested[held.argmax()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("SIMPLECHROME_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", action="store_true")
    arguments = parser.parse_args()
    real = read_real(arguments.data)
    made = simulate(len(real.rpkm), seed=arguments.seed)
    artificial = Data(made.signal[0], made.expression[0], made.genes)
    parts = [levels, profiles, noise, genome, expression, components, scores]
    print(f"{'':70}{'real':>9}{'simulated':>11}")
    for part in parts if arguments.scores else parts[:-1]:
        theirs = dict(part(artificial))
        for name, value in part(real):
            print(f"{name:70}{value:9.3f}{theirs.get(name, float('nan')):11.3f}")


if __name__ == "__main__":
    main()

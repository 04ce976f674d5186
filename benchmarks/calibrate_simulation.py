"""How close do simulated windows and expression come to the real ones?

Prints the figures that `simplechrome.simulation.simulate` is calibrated to, measured alike on the
real cell type E012 and on simulated data of the same size, side by side:

    python benchmarks/calibrate_simulation.py [--data ../shared/data] [--seed 0] [--scores]
        [--plots FOLDER]

`--scores` adds the mean test AUROC of logistic regression by the protocol of the project
(training chromosomes, numbers of labels; several minutes), `--plots` the figures to look at.
"""

from __future__ import annotations

import argparse
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from simplechrome.simulation.simulate import simulate

MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
TEST = ("chr1", "chr8", "chr21")
VALIDATION = ("chr2", "chr9", "chr22")
N_LABELS = (20, 100, 1000)
N_DRAWS = 10
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0, 10.0)  # C, the inverse of the penalty
REGIONS = ((0, 20), (20, 40), (40, 45), (45, 49), (49, 52), (52, 57), (57, 65), (65, 80), (80, 100))


class Data(NamedTuple):
    """One cell type: signal (gene, bin, mark), log2(RPKM + 1), and the genes' places."""

    signal: np.ndarray
    rpkm: np.ndarray
    genes: pd.DataFrame

    @property
    def expression(self) -> np.ndarray:
        return np.log2(self.rpkm + 1)


def read_real(folder: Path) -> Data:
    """What do the published layout, the RPKM table and the gene table say of E012?"""
    options = {f"f{column}": pa.int32() for column in range(1, 8)} | {"f0": pa.string()}
    tables = []
    with tarfile.open(folder / "deepchrome_layout_E012.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".csv"):
                tables.append(
                    pa_csv.read_csv(
                        archive.extractfile(member),
                        read_options=pa_csv.ReadOptions(autogenerate_column_names=True),
                        convert_options=pa_csv.ConvertOptions(column_types=options),
                    )
                )
    table = pa.concat_tables(tables).to_pandas()
    signal = table[[f"f{column}" for column in range(2, 7)]].to_numpy().reshape(-1, 100, 5)
    gene_id = "ENSG00000" + table["f0"].to_numpy()[::100].astype(object)
    genes = pd.read_csv(folder / "genes_hg19.tsv.gz", sep="\t").drop_duplicates("gene_id")
    genes = genes.set_index("gene_id").loc[gene_id, ["chrom", "tss", "strand"]].reset_index()
    rpkm = pd.read_csv(folder / "rpkm_54cells.tsv.gz", sep="\t", index_col=False)
    rpkm = rpkm.drop_duplicates("gene_id").set_index("gene_id").loc[gene_id, "E012"].to_numpy()
    return Data(signal.astype(np.uint16), rpkm, genes)


def simulated(n_genes: int, seed: int) -> Data:
    result = simulate(n_genes, seed=seed)
    return Data(result.signal[0], result.expression[0], result.genes)


Figure = tuple[str, float]


def levels(data: Data) -> Iterator[Figure]:
    level = np.log1p(data.signal.mean(1, dtype=np.float64))
    for m, mark in enumerate(MARKS):
        yield f"{mark}: mean reads per bin", float(data.signal[..., m].mean())
        yield f"{mark}: share of bins without a read", float((data.signal[..., m] == 0).mean())
        yield f"{mark}: largest count", float(data.signal[..., m].max())
        for q in (0.05, 0.25, 0.5, 0.75, 0.95):
            yield f"{mark}: log level, quantile {q}", float(np.quantile(level[:, m], q))
    with_expression = np.corrcoef(np.c_[level, data.expression].T)
    names = (*MARKS, "expression")
    for i in range(6):
        for j in range(i):
            yield f"correlation of levels {names[j]} × {names[i]}", float(with_expression[i, j])


def profiles(data: Data) -> Iterator[Figure]:
    cuts = np.quantile(data.expression, [0, 1 / 3, 2 / 3, 1])
    for m, mark in enumerate(MARKS):
        for k, name in enumerate(("low", "middle", "high")):
            inside = (data.expression >= cuts[k]) & (data.expression <= cuts[k + 1])
            mean = data.signal[inside, :, m].mean(0)
            for start, end in REGIONS:
                yield f"{mark}, {name} third, bins {start}–{end - 1}", float(mean[start:end].mean())


def noise(data: Data) -> Iterator[Figure]:
    """Difference of adjacent bins against their surroundings: mostly counting noise."""
    log_signal = np.log1p(data.signal)
    residual = log_signal - log_signal.mean(0)
    residual -= residual.mean(1, keepdims=True)
    for m, mark in enumerate(MARKS):
        x = data.signal[..., m].astype(np.float64)
        around = (x[:, :-3] + x[:, 3:]) / 2
        left, right = x[:, 1:-2], x[:, 2:-1]
        for low, high in ((0.9, 1.1), (3, 6), (8, 12), (16, 24), (35, 45)):
            here = (around >= low) & (around <= high)
            if here.sum() > 500:
                ratio = ((left - right)[here] ** 2).mean() / 2 / left[here].mean()
                yield f"{mark}: variance / mean of adjacent bins near {low}–{high}", float(ratio)
        r = residual[..., m]
        for lag in (1, 2, 5, 10, 20, 50):
            value = (r[:, lag:] * r[:, :-lag]).mean() / (r**2).mean()
            yield f"{mark}: autocorrelation along bins, lag {lag}", float(value)


def genome(data: Data) -> Iterator[Figure]:
    frame = data.genes.reset_index(drop=True).sort_values(["chrom", "tss"])
    order = frame.index.to_numpy()
    chrom, tss = frame["chrom"].to_numpy(), frame["tss"].to_numpy()
    same = chrom[1:] == chrom[:-1]
    gap = np.where(same, np.diff(tss), np.inf)
    nearest = np.minimum(np.append(gap, np.inf), np.insert(gap, 0, np.inf))
    yield "share of genes with an overlapping window", float((nearest < 10_000).mean())
    yield "share of genes with another within 1 kb", float((nearest < 1_000).mean())
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        yield (
            f"gap between genes, log10 bp, quantile {q}",
            float(np.log10(np.quantile(gap[same], q) + 1)),
        )
    level = np.log1p(data.signal.mean(1, dtype=np.float64))
    values = dict(zip(MARKS, level.T, strict=True)) | {"expression": data.expression}
    for name, value in values.items():
        v = value[order]
        for lag in (1, 2, 10):
            pair = chrom[lag:] == chrom[:-lag]
            yield (
                f"{name}: correlation with neighbor {lag}",
                float(np.corrcoef(v[lag:][pair], v[:-lag][pair])[0, 1]),
            )
        for low, high in ((0, 3e3), (3e3, 1e4), (1e4, 3e4), (3e4, 1e5), (1e5, 3e5)):
            pair = (gap >= low) & (gap < high)
            yield (
                f"{name}: correlation at {low / 1e3:.0f}–{high / 1e3:.0f} kb",
                float(np.corrcoef(v[1:][pair], v[:-1][pair])[0, 1]),
            )


def expression(data: Data) -> Iterator[Figure]:
    yield "expression: share with RPKM 0", float((data.rpkm == 0).mean())
    for low, high in ((0, 0.5), (0.5, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 7), (7, 20)):
        share = ((data.expression >= low) & (data.expression < high)).mean()
        yield f"expression: share in log2(RPKM+1) {low}–{high}", float(share)
    for b in (2, 35, 42, 46, 49, 52, 55, 60, 70, 97):
        for m, mark in enumerate(MARKS):
            r = np.corrcoef(data.expression, np.log1p(data.signal[:, b, m]))[0, 1]
            yield f"expression × {mark} in bin {b}", float(r)


def standardized(data: Data) -> np.ndarray:
    log_signal = np.log1p(data.signal.astype(np.float32))
    train = ~data.genes["chrom"].isin((*TEST, *VALIDATION)).to_numpy()
    log_signal -= log_signal[train].mean((0, 1))
    log_signal /= log_signal[train].std((0, 1))
    return log_signal.reshape(len(log_signal), -1)


def components(data: Data) -> Iterator[Figure]:
    pca = PCA(10, random_state=0).fit(standardized(data))
    for k, share in enumerate(pca.explained_variance_ratio_):
        yield f"PCA: share of variance of component {k + 1}", float(share)


def representations(data: Data) -> dict[str, np.ndarray]:
    x = standardized(data)
    train = ~data.genes["chrom"].isin((*TEST, *VALIDATION)).to_numpy()
    counts = data.signal.astype(np.float64)
    regions = counts.reshape(len(counts), 5, 20, 5).mean(2).reshape(len(counts), -1)
    scores = PCA(10, random_state=0).fit(x[train]).transform(x)
    result = {"5 log-means": np.log1p(counts.mean(1)), "25 log-region-means": np.log1p(regions)}
    for name, value in result.items():
        result[name] = (value - value[train].mean(0)) / value[train].std(0)
    return result | {"raw 500": x, "PCA 10": scores / scores[train, 0].std()}


def scores(data: Data) -> Iterator[Figure]:
    """Mean test AUROC, the penalty being the best on the validation chromosomes."""
    chrom = data.genes["chrom"].to_numpy()
    label = (data.rpkm > np.median(data.rpkm)).astype(int)
    test, validation = np.isin(chrom, TEST), np.isin(chrom, VALIDATION)
    train = np.flatnonzero(~test & ~validation)
    train = train[np.argsort(data.genes["gene_id"].to_numpy()[train])]
    for name, x in representations(data).items():
        for n in (*N_LABELS, train.size):
            result = []
            for draw in range(1 if n == train.size else N_DRAWS):
                chosen = np.random.default_rng(draw).choice(train, n, replace=False)
                result.append(
                    [
                        [
                            roc_auc_score(label[part], model.decision_function(x[part]))
                            for part in (validation, test)
                        ]
                        for model in (
                            LogisticRegression(C=c, max_iter=300).fit(x[chosen], label[chosen])
                            for c in PENALTIES[: 5 if x.shape[1] > 100 else None]
                        )
                    ]
                )
            mean = np.mean(result, axis=0)
            amount = "all" if n == train.size else f"{n:,}"
            yield f"AUROC, {name}, {amount} labels", float(mean[mean[:, 0].argmax(), 1])


def plot(real: Data, made: Data, folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 5, figsize=(22, 8), sharey="col")
    for row, (title, data) in enumerate((("real E012", real), ("simulated", made))):
        group = np.digitize(data.expression, np.quantile(data.expression, [0.2, 0.4, 0.6, 0.8]))
        for m, mark in enumerate(MARKS):
            for k in range(5):
                axes[row, m].plot(data.signal[group == k, :, m].mean(0), label=f"fifth {k + 1}")
            axes[row, m].set_title(f"{title}: {mark}")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(folder / "profiles.png", dpi=55)

    figure, axes = plt.subplots(2, 5, figsize=(22, 10))
    for row, data in enumerate((real, made)):
        chosen = np.random.default_rng(0).choice(len(data.rpkm), 400, replace=False)
        chosen = chosen[np.argsort(data.expression[chosen])]
        for m, mark in enumerate(MARKS):
            top = np.log1p(np.quantile(real.signal[..., m], 0.999))
            axes[row, m].imshow(
                np.log1p(data.signal[chosen, :, m]),
                aspect="auto",
                vmin=0,
                vmax=top,
                interpolation="nearest",
            )
            axes[row, m].set_title(mark)
    figure.tight_layout()
    figure.savefig(folder / "windows.png", dpi=55)

    figure, axes = plt.subplots(2, 4, figsize=(20, 10))
    for row, data in enumerate((real, made)):
        z = PCA(4, random_state=0).fit_transform(standardized(data))
        z *= np.sign(np.array([np.corrcoef(z[:, k], data.expression)[0, 1] for k in range(4)]))
        for k in range(3):
            axes[row, k].scatter(z[:, k], z[:, k + 1], c=data.expression, s=2, alpha=0.4)
            axes[row, k].set_title(f"components {k + 1}, {k + 2}")
        axes[row, 3].hist(data.expression, bins=np.arange(0, 12, 0.25))
    figure.tight_layout()
    figure.savefig(folder / "pca.png", dpi=55)

    figure, axes = plt.subplots(8, 5, figsize=(22, 18))
    for row in range(8):
        gene = np.random.default_rng(row).choice(len(made.rpkm))
        for m, mark in enumerate(MARKS):
            axes[row, m].bar(range(100), made.signal[gene, :, m], width=1)
            axes[row, m].set_title(f"{mark}, expression {made.expression[gene]:.1f}")
    figure.tight_layout()
    figure.savefig(folder / "genes.png", dpi=45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("SIMPLECHROME_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", action="store_true")
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()

    real = read_real(arguments.data)
    made = simulated(len(real.rpkm), arguments.seed)
    parts: list[Callable[[Data], Iterator[Figure]]] = [
        levels, profiles, noise, genome, expression, components,
    ]  # fmt: skip
    if arguments.scores:
        parts.append(scores)
    print(f"{'':70}{'real':>9}{'simulated':>11}")
    for part in parts:
        made_figures = dict(part(made))
        for name, value in part(real):
            print(f"{name:70}{value:9.3f}{made_figures.get(name, float('nan')):11.3f}")
    if arguments.plots:
        plot(real, made, arguments.plots)


if __name__ == "__main__":
    main()

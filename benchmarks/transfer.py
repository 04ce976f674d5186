"""What do other cell types' labels tell of a cell type with few labels, or none?

    python benchmarks/transfer.py atlas.zarr --target E012 [--part test] [--draws 20]

Encoder and head learn from the training chromosomes of all other cell types; scored are genes of
the target's validation (at the end, test) chromosomes, which no cell type showed. Prints AUROC with
0 labels of the target, with 95 % of a block bootstrap over runs of 50 genes, of

consensus          encoder fitted on the other cell types; `windows`: on the target's unlabelled
                   windows as well, as `fit` on the merged dataset does. One linear head for all
one cell type      PCA 30 and a linear head of the cell type with the most shared marks, of those
                   the one whose own validation AUROC is highest; on its scale and on the target's
log-means          log-means of all marks (missing ones 0), one linear head for all
gene mean          a gene's mean log2(RPKM + 1) in the other cell types: no histone mark at all

and then, with n labels on top (mean over draws, ± standard error of the difference), the head
beside the 0-label answer (`fit --from`), and the target's own labels alone.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from heads import LABELS, arguments, interval, linear_log_odds, place_of, positions

import simplechrome
from simplechrome.evaluation.bootstrap import block_bootstrap, paired_block_bootstrap
from simplechrome.metrics import auroc
from simplechrome.runs.predictions import SOURCE_LENGTH


class Transfer:
    """One target, and what is learned for it elsewhere."""

    def __init__(self, every: xr.Dataset, target: str, part: str) -> None:
        split = simplechrome.split_by_chromosome(every)
        names = [str(name) for name in every["cell_type"].values]
        self.every, self.target = every, target
        self.others = [name for name in names if name != target]
        self.train, self.scored = split.train, getattr(split, part)
        self.validation = split.validation
        self.rows = positions(every, self.train)
        scored = self.scored.sel(cell_type=target)
        self.truth = scored["label"].values
        self.known = self.truth >= 0
        self.place = place_of(scored, self.known)
        self.at = positions(every, self.scored)

    def labels(self, cell_types: list[str]) -> xr.DataArray:
        return self.train["label"].sel(cell_type=cell_types)

    def consensus(self, cell_types: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Latents of all genes of the target, and what the others' head says of them."""
        encoder = simplechrome.ConsensusEncoder().fit(self.train.sel(cell_type=cell_types))
        encoder = encoder.adapt_to(self.train.sel(cell_type=[self.target]))
        latents = encoder.transform(self.train.sel(cell_type=self.others))
        head = simplechrome.LinearPredictor().fit(latents, self.labels(self.others))
        own = encoder.transform(self.every.sel(cell_type=[self.target]))
        return own.values[0], np.asarray(head.decision_function(own))[0]

    def one_cell_type(self) -> dict[str, np.ndarray]:
        """PCA and a head of the cell type that is most alike in its marks."""
        marks = self.every["mark_present"]
        mine = marks.sel(cell_type=self.target)
        shared = {name: int((marks.sel(cell_type=name) & mine).sum()) for name in self.others}
        best: tuple[float, dict[str, np.ndarray]] = (0.0, {})
        for name in (n for n in self.others if shared[n] == max(shared.values())):
            both = (marks.sel(cell_type=name) & mine).values
            fit = self.train.sel(cell_type=[name]).isel(mark=both)
            encoder = simplechrome.PCA(30).fit(fit)
            head = simplechrome.LinearPredictor().fit(encoder.transform(fit), fit["label"])
            held = self.validation.sel(cell_type=[name]).isel(mark=both)
            value = head.decision_function(encoder.transform(held))[0]
            own = auroc(held["label"].values[0], np.asarray(value))
            here = self.every.sel(cell_type=[self.target]).isel(mark=both)
            said = {f"{name} alone, its scale": head.decision_function(encoder.transform(here))}
            encoder.transform_.fit(self.train.sel(cell_type=[self.target]).isel(mark=both))
            said |= {f"{name} alone, own scale": head.decision_function(encoder.transform(here))}
            if own > best[0]:
                best = own, {key: np.asarray(each)[0] for key, each in said.items()}
        return best[1]

    def log_means(self) -> np.ndarray:
        """Levels of all marks, each standardized within its cell type."""

        def levels(name: str, data: xr.Dataset) -> np.ndarray:
            encoder = simplechrome.LogMeans().fit(self.train.sel(cell_type=[name]))
            return np.nan_to_num(encoder.transform(data.sel(cell_type=[name])).values[0])

        x = np.concatenate([levels(name, self.train) for name in self.others])
        y = self.labels(self.others).values.ravel()
        return linear_log_odds(x[y >= 0], y[y >= 0], levels(self.target, self.every))

    def gene_mean(self) -> np.ndarray:
        levels = np.log2(self.every["expression"].sel(cell_type=self.others) + 1)
        return levels.mean("cell_type").values

    def score(self, said: np.ndarray) -> float:
        return auroc(self.truth[self.known], said[self.at][self.known])

    def show(self, name: str, said: np.ndarray, reference: np.ndarray | None = None) -> None:
        """AUROC with its interval, and the reference minus it."""
        y, value = self.truth[self.known], said[self.at][self.known]
        found = block_bootstrap(auroc, y, value, **self.place)
        line = f"{name:<28}{found.value:.4f} ({found.low:.4f}, {found.high:.4f})"
        if reference is not None:
            ours = reference[self.at][self.known]
            gain = paired_block_bootstrap(auroc, y, ours, value, **self.place)
            line += f"   consensus, windows minus it {interval(gain)}"
        print(line, flush=True)

    def with_labels(self, latents: np.ndarray, said: np.ndarray, draws: int) -> None:
        """n labels of the target, beside what was said without, and alone."""
        train = self.train.sel(cell_type=[self.target])
        y, genes = train["label"].values[0], self.rows
        joined = np.column_stack([SOURCE_LENGTH * said, latents])
        for n in (*LABELS, None):
            scores = []
            for seed in range(draws if n else 1):
                drawn = simplechrome.draw_labels(train, n, seed) if n else np.flatnonzero(y >= 0)
                found = (
                    linear_log_odds(x[genes[drawn]], y[drawn], x, seed) for x in (joined, latents)
                )
                scores.append([self.score(values) for values in found])
            both = np.asarray(scores)
            gain = both[:, 0] - self.score(said)
            error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else np.nan
            print(
                f"{n or 'all':>6} labels: --from {both[:, 0].mean():.4f}, minus no label "
                f"{gain.mean():+.4f} ± {error:.4f}; own labels alone {both[:, 1].mean():.4f}",
                flush=True,
            )


def main() -> None:
    """Compare what is known of one cell type without, and with few, of its labels."""
    parser = arguments(__doc__, draws=20)
    parser.add_argument("--target", required=True)
    options = parser.parse_args()
    transfer = Transfer(simplechrome.open_dataset(options.dataset), options.target, options.part)
    _, strict = transfer.consensus(transfer.others)
    latents, said = transfer.consensus([*transfer.others, transfer.target])
    transfer.show("consensus, windows", said)
    transfer.show("consensus", strict, said)
    for name, value in transfer.one_cell_type().items():
        transfer.show(name, value, said)
    transfer.show("log-means", transfer.log_means(), said)
    transfer.show("gene mean", transfer.gene_mean(), said)
    transfer.with_labels(latents, said, options.draws)


if __name__ == "__main__":
    main()

"""How well are marks imputed that were measured, and were hidden?

    python benchmarks/imputation.py atlas.zarr [--part test] [E012:H3K4me1 E028:H3K4me3 …]

Each track is hidden in turn from everything: the encoder is fitted on what is left, on training
chromosomes. Prints the Pearson correlation of the (smoothed) truth with the prediction, over the
genes of the validation (at the end, test) chromosomes and all bins, on a log scale:

profile   the mark's mean profile in other cell types
nearest   mean of the 20 training genes that are nearest by the other marks, in the cell type that
          shares most of them
ridge     regression on all bins of the marks that are there, learned in the other cell types that
          have the mark; the best of three penalties, so slightly favored
others    the mean of the same gene in other cell types
impute    `simplechrome.impute`

With `--others N`, the dataset that is imputed holds only N other cell types with the mark, as a
user's may; the encoder was fitted on all of them.

Then the share of bins inside of the 90 % interval, and by how much `impute` is above the best of
the first three and above `others` (95 % of a block bootstrap over runs of 50 genes).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from heads import arguments, place_of
from scipy.ndimage import gaussian_filter1d

import simplechrome
from simplechrome.dataset.transforms.tracks import PSEUDO_SHARE, SMOOTHING
from simplechrome.evaluation.bootstrap import paired_block_bootstrap

TRACKS = (
    *("E012:H3K27me3", "E012:H3K36me3", "E012:H3K4me1", "E012:H3K4me3", "E012:H3K9me3"),
    *("E028:H3K4me3", "E053:H3K4me3", "E065:H3K4me1", "E119:H3K36me3", "E123:H3K27me3"),
    "E094:H3K9me3",
)
NEAREST = 20
PENALTIES = (0.1, 1.0, 10.0)


def hide(dataset: xr.Dataset, cell_type: str, mark: str) -> xr.Dataset:
    """The dataset without one track."""
    gone = (dataset["cell_type"] == cell_type) & (dataset["mark"] == mark)
    kept = (~gone).astype(dataset["signal"].dtype)
    return dataset.assign(
        signal=dataset["signal"] * kept,
        observed=dataset["observed"] * kept.astype(np.float32),
        mark_present=dataset["mark_present"] & ~gone,
    )


def correlation(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson over all genes and bins."""
    return float(np.corrcoef(truth.ravel(), predicted.ravel())[0, 1])


def some_others(dataset: xr.Dataset, cell_type: str, mark: str, n: int) -> list[int]:
    """The cell type, and n others that have the mark."""
    has = dataset["mark_present"].sel(mark=mark).values
    order = np.random.default_rng(0).permutation(np.flatnonzero(has))[:n]
    return [list(dataset["cell_type"].values).index(cell_type), *order.tolist()]


class Hidden:
    """One track that is hidden, and several predictions of it for the scored genes."""

    def __init__(
        self, dataset: xr.Dataset, cell_type: str, mark: str, part: str, others: int | None
    ) -> None:
        self.mark, self.cell_type = mark, cell_type
        data = hide(dataset, cell_type, mark)
        split = simplechrome.split_by_chromosome(data)
        self.encoder = simplechrome.ConsensusEncoder().fit(split.train)
        if others is not None:
            data = data.isel(cell_type=some_others(data, cell_type, mark, others))
        self.imputed = simplechrome.impute(self.encoder, data).dataset
        ids = data["gene_id"].values
        self.train = np.isin(ids, split.train["gene_id"].values)
        self.scored = np.isin(ids, getattr(split, part)["gene_id"].values)
        windows = self.encoder.transform_windows(data)
        self.values = windows.values
        self.there = windows.present.any(axis=1)
        self.column = self.encoder.marks_.index(mark)
        self.row = list(data["cell_type"].values).index(cell_type)
        self.donors = np.flatnonzero(self.there[:, self.column])
        raw = dataset["signal"].sel(cell_type=cell_type, mark=mark).values.astype(np.float32)
        truth = gaussian_filter1d(raw, SMOOTHING, axis=1, mode="nearest")
        self.truth = self.log(truth)

    def log(self, signal: np.ndarray) -> np.ndarray:
        """(scored gene, bin) of the (gene, bin) signal, on its own log scale."""
        return np.log1p(signal[self.scored] / (PSEUDO_SHARE * signal[self.train].mean()))

    def signal(self, values: np.ndarray) -> np.ndarray:
        """(scored gene, bin) on the log scale, of (gene, bin) as the encoder sees it."""
        return self.log(self.encoder.transform_.inverse_of(values, self.mark))

    def _shared(self, donor: int) -> np.ndarray:
        return self.there[donor] & self.there[self.row]

    def nearest(self) -> np.ndarray:
        """Windows of the genes that are nearest by the other marks."""
        donor = max(self.donors, key=lambda donor: self._shared(donor).sum())
        shared = self._shared(donor)
        mine, theirs = (
            self.values[row][:, :, shared].reshape(len(self.train), -1) for row in (self.row, donor)
        )
        theirs = theirs[self.train]
        distance = np.square(theirs).sum(axis=1) - 2 * mine @ theirs.T
        near = np.argpartition(distance, NEAREST, axis=1)[:, :NEAREST]
        return self.values[donor][self.train][:, :, self.column][near].mean(axis=1)

    def ridge(self) -> list[np.ndarray]:
        """Regression on the bins of all marks that are there, one for each penalty."""
        xx, xy = 0.0, 0.0
        for donor in self.donors:
            x = self.values[donor][self.train] * self._shared(donor)
            x = x.reshape(len(x), -1)
            xx = xx + x.T @ x / len(x)
            xy = xy + x.T @ self.values[donor][self.train][:, :, self.column] / len(x)
        mine = self.values[self.row].reshape(len(self.train), -1)
        eye = np.eye(len(xx))
        return [mine @ np.linalg.solve(xx + price * eye, xy) for price in PENALTIES]

    def others(self) -> np.ndarray:
        """The same genes in the other cell types."""
        return self.values[self.donors][:, :, :, self.column].mean(axis=0)

    def predictions(self) -> dict[str, np.ndarray]:
        """Each way's (scored gene, bin), on the log scale."""
        ways = {
            "profile": self.signal(np.zeros_like(self.others())),
            "nearest": self.signal(self.nearest()),
            "ridge": max(map(self.signal, self.ridge()), key=lambda t: correlation(self.truth, t)),
            "others": self.signal(self.others()),
        }
        mine = self.imputed["signal"].sel(cell_type=self.cell_type, mark=self.mark)
        return ways | {"impute": self.log(mine.values)}

    def inside(self) -> float:
        """Share of bins inside of the interval, the track brought to the depth of its mark."""
        here = self.imputed.sel(cell_type=self.cell_type, mark=self.mark)
        low, high = (here[f"imputed_{end}"].values for end in ("low", "high"))
        mean = here["signal"].values
        pseudo = PSEUDO_SHARE * mean[self.train].mean()
        truth = pseudo * np.expm1(self.truth)
        return float(((truth >= low[self.scored]) & (truth <= high[self.scored])).mean())


def main() -> None:
    """Hide and impute one track after the other."""
    parser = arguments(__doc__)
    parser.add_argument("tracks", nargs="*", default=TRACKS)
    parser.add_argument("--others", type=int, metavar="N")
    options = parser.parse_args()
    dataset = simplechrome.open_dataset(options.dataset)
    names = ("profile", "nearest", "ridge", "others", "impute")
    print(f"{'track':<15}" + "".join(f"{name:>9}" for name in names) + "   inside", end="")
    print(f"{'- best of first three':>28}{'- others':>26}")
    for track in options.tracks:
        hidden = Hidden(dataset, *track.split(":"), options.part, options.others)
        predicted = hidden.predictions()
        scores = {name: correlation(hidden.truth, predicted[name]) for name in names}
        place = place_of(dataset, hidden.scored)
        gains = [
            paired_block_bootstrap(
                correlation,
                hidden.truth,
                predicted["impute"],
                predicted[name],
                **place,
                n_resamples=200,
            )
            for name in (max(names[:3], key=scores.__getitem__), "others")
        ]
        print(f"{track:<15}" + "".join(f"{scores[name]:9.3f}" for name in names), end="")
        print(f"{hidden.inside():9.1%}", end="")
        for gain in gains:
            print(f"{gain.value:+10.3f} ({gain.low:+.3f}, {gain.high:+.3f})", end="")
        print(flush=True)


if __name__ == "__main__":
    main()

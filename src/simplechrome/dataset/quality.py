"""Is every track what its name says? Signs of exchanged, empty and mislabelled files."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from simplechrome.dataset.transforms.signal import present_marks

USUAL_ENRICHMENT: dict[str, tuple[float, float]] = {
    "H3K4me3": (1.5, np.inf),
    "H3K27ac": (1.3, np.inf),
    "H3K9ac": (1.3, np.inf),
    "H3K36me3": (0.0, 0.95),
    "H3K4me1": (0.6, 2.0),
    "H3K27me3": (0.6, 2.0),
    "H3K9me3": (0.6, 2.0),
}
"""Mark -> mean within 1 kb of the TSS, as a multiple of the mean of a window of 5 kb either side.

H3K4me3 and acetylation peak at starts, H3K36me3 fills gene bodies and leaves starts out, the
others lie around them or in broad domains (Barski et al., Cell 2007; Wang et al., Nature Genetics
2008; Roadmap Epigenomics Consortium, Nature 2015). The limits leave room: in 20 cell types of the
Roadmap Epigenomics project H3K4me3 has 2.9 to 3.7, H3K36me3 0.34 to 0.83, the others 0.84 to 1.7;
H3K4me3 as arcsinh(-log10 p) has 1.8 or more.
"""

REACH = 3000
"""bp that a window must have on either side of the TSS for its enrichment to mean that."""
FEW_GENES = 100
"""Below which shapes and correlations are chance."""

_SURE = 0.05  # gain in two correlations: 0.09 or more where marks of 20 cell types are exchanged
_ALMOST_EMPTY = 0.95
_LITTLE_DATA = 0.9
_EXAMPLES = 5


class Correlations(NamedTuple):
    """How alike the levels of tracks are over genes.

    tracks : (cell type, mark) of each
    values : (track, track), Spearman's correlation; 0 with a track that is the same everywhere
    n_genes : of the dataset
    """

    tracks: list[tuple[str, str]]
    values: np.ndarray
    n_genes: int

    def with_mark(self, cell_type: str, track_mark: str, mark: str) -> float:
        """Mean correlation of a track with a mark of the other cell types; NaN if none has it."""
        row = self.tracks.index((cell_type, track_mark))
        others = [k for k, (c, m) in enumerate(self.tracks) if m == mark and c != cell_type]
        return float(self.values[row, others].mean()) if others else float("nan")


def level_correlations(dataset: xr.Dataset) -> Correlations:
    """How alike are the levels of every two tracks, over genes?

    The level is the mean signal of a window. Genes that a track has no data of count as average.
    """
    present = present_marks(dataset)
    genes = dataset.sizes["gene"]
    tracks, ranks = [], []
    for row, cell_type in enumerate(map(str, dataset["cell_type"].values)):
        for column, mark in enumerate(map(str, dataset["mark"].values)):
            seen = present[row, :, column]
            if not seen.any():
                continue
            level = dataset["signal"].values[row, seen, :, column].mean(axis=1, dtype=np.float64)
            centered = np.zeros(genes, np.float32)
            centered[seen] = rankdata(level) - (level.size + 1) / 2
            length = np.linalg.norm(centered)
            tracks.append((cell_type, mark))
            ranks.append(centered / length if length > 0 else centered)
    together = np.array(ranks, np.float32).reshape(len(ranks), genes)
    return Correlations(tracks, (together @ together.T).astype(np.float64), genes)


def likely_swaps(correlations: Correlations) -> list[tuple[str, str, str]]:
    """In which cell types do two marks look like each other's?

    Two marks of a cell type are named if, exchanged, they would agree better with the same marks
    of the other cell types. The clearest pair is put right before the next is looked for, since
    an exchanged pair makes those that are compared with it look wrong, too.

    Returns
    -------
    (cell type, mark, mark). Of two cell types alone it cannot be told in which of them the marks
    are exchanged: both are named.
    """
    if correlations.n_genes < FEW_GENES:
        return []
    names = list(correlations.tracks)
    threshold = max(_SURE, 3 / np.sqrt(correlations.n_genes))
    found: list[tuple[str, str, str]] = []
    while True:
        gains = _gains(correlations._replace(tracks=names))
        gains = {pair: gain for pair, gain in gains.items() if pair not in found}
        if not gains or max(gains.values()) <= threshold:
            return found
        best = max(gains.values())
        # Equal but for rounding: two cell types that accuse each other.
        clearest = [pair for pair, gain in gains.items() if gain > best - 1e-6]
        found += clearest
        cell_type, one, other = clearest[0]
        exchanged = {(cell_type, one): (cell_type, other), (cell_type, other): (cell_type, one)}
        names = [exchanged.get(name, name) for name in names]


def _gains(correlations: Correlations) -> dict[tuple[str, str, str], float]:
    """What exchanging two marks of a cell type adds to their correlations with other cell types."""
    names = np.array(correlations.tracks, dtype=object).reshape(-1, 2)
    marks = sorted(set(names[:, 1]))
    member = np.array([names[:, 1] == mark for mark in marks], float).reshape(len(marks), -1)
    gains = {}
    for cell_type in dict.fromkeys(names[:, 0]):
        rows = np.flatnonzero(names[:, 0] == cell_type)
        others = member * (names[:, 0] != cell_type)
        n = others.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = correlations.values[rows] @ others.T / n  # (track of the cell type, mark)
        at = [marks.index(mark) for mark in names[rows, 1]]
        for i, one in enumerate(at):
            for j, other in enumerate(at[:i]):
                gain = mean[i, other] + mean[j, one] - mean[i, one] - mean[j, other]
                if np.isfinite(gain):
                    gains[cell_type, marks[other], marks[one]] = float(gain)
    return gains


def quality_advice(description: dict[str, Any]) -> list[str]:
    """What looks wrong with tracks, and what is to be done? Sentences with advice.

    Of imputed tracks nothing is said: nobody measured them.

    Parameters
    ----------
    description
        See `simplechrome.dataset.inspect.describe`.
    """
    tracks = [
        (cell_type, mark, numbers)
        for cell_type, cell in description["cell_types"].items()
        for mark, numbers in cell["marks"].items()
        if numbers["present"] and not numbers.get("imputed")
    ]
    return [
        *_swap_advice(description["likely_swaps"], len(description["cell_types"])),
        *_shape_advice(description, tracks),
        *_kind_advice(description["units"], tracks),
        *_coverage_advice(tracks),
    ]


_Track = tuple[str, str, dict[str, Any]]


def _swap_advice(swaps: list[list[str]], n_cell_types: int) -> list[str]:
    advice = []
    for one, other in dict.fromkeys((one, other) for _, one, other in swaps):
        cells = [cell_type for cell_type, *marks in swaps if marks == [one, other]]
        # Of two cell types that disagree with each other, nothing says which is right.
        separator = " or " if n_cell_types == 2 else ", "
        advice.append(
            f"{_listed(cells, separator)}: {one} and {other} look exchanged. "
            f"{one} is more like {other} of the other cell types, and {other} more like their "
            f"{one}, than like the same mark: check which file is which, and build again."
        )
    return advice


def _shape_advice(description: dict[str, Any], tracks: list[_Track]) -> list[str]:
    window = description["window"]
    if min(-window["from"], window["to"]) < REACH or description["sizes"]["gene"] < FEW_GENES:
        return []
    odd = {
        (cell_type, mark): numbers["promoter_enrichment"]
        for cell_type, mark, numbers in tracks
        if numbers["promoter_enrichment"] is not None
        and mark in USUAL_ENRICHMENT
        and not _usual(mark, numbers["promoter_enrichment"])
    }
    advice = []
    for (cell_type, mark), enrichment in odd.items():
        low, high = USUAL_ENRICHMENT[mark]
        usual = f"{low:g} or more" if high == np.inf else f"{low:g} to {high:g}"
        if low == 0:
            usual = f"{high:g} or less"
        partners = [
            other
            for other_cell, other in odd
            if other_cell == cell_type
            and other != mark
            and _usual(other, enrichment)
            and _usual(mark, odd[other_cell, other])
        ]
        fits = (
            f"It fits {partners[0]}, and {partners[0]} of this cell type fits {mark}: are the two "
            "files exchanged?"
            if partners
            else "Is it the file of another mark, or a failed experiment?"
        )
        advice.append(
            f"{cell_type} {mark}: within 1 kb of the TSS it has {enrichment:.2g} times the mean "
            f"of its windows (usual: {usual}). {fits}"
        )
    return advice


def _usual(mark: str, enrichment: float) -> bool:
    low, high = USUAL_ENRICHMENT[mark]
    return low <= enrichment <= high


def _kind_advice(units: str, tracks: list[_Track]) -> list[str]:
    """Tracks whose values are not of the kind that the units say."""
    filled = [track for track in tracks if track[2]["mean_per_bin"]]
    negative = [track for track in filled if track[2]["smallest_bin"] < 0]
    broken = [t for t in filled if not t[2]["whole_numbers"] and t not in negative]
    whole = [t for t in filled if t[2]["whole_numbers"] and t not in negative]
    advice = []
    if negative:
        advice.append(
            f"{_named(negative)}: values below 0, as log ratios have. Models want counts, or "
            "signal from 0 up (--transform asinh takes both)."
        )
    if units == "reads" and broken:
        advice.append(
            f"{_named(broken)}: the units are reads, but values are not whole numbers. These are "
            "p-values, fold change or normalized counts: build from BAM files, or say with "
            "--units what they are, so that no model of reads takes them for such."
        )
    elif units not in ("reads", "") and whole and not broken:
        advice.append(
            f"{_named(whole)}: the units are {units}, but all values are whole numbers. If these "
            "are read counts, build with the units reads."
        )
    elif whole and broken:
        advice.append(
            f"{_named(whole if len(whole) < len(broken) else broken)}: "
            f"{'whole numbers' if len(whole) < len(broken) else 'broken numbers'}, unlike all "
            "other tracks. Are files of different kinds mixed?"
        )
    return advice


def _coverage_advice(tracks: list[_Track]) -> list[str]:
    empty = [
        track
        for track in tracks
        if track[2]["mean_per_bin"] and track[2]["share_of_empty_windows"] > _ALMOST_EMPTY
    ]
    little = [track for track in tracks if track[2]["share_observed"] < _LITTLE_DATA]
    advice = []
    if empty:
        advice.append(
            f"{_named(empty)}: hardly any window holds signal. Was the file cut off, or is it of "
            "another genome?"
        )
    if little:
        least = min(track[2]["share_observed"] for track in little)
        advice.append(
            f"{_named(little)}: windows without any data (down to {least:.0%} have some). They are "
            "masked; --drop-unobserved leaves such genes out."
        )
    return advice


def _named(tracks: list[_Track]) -> str:
    return _listed([f"{cell_type} {mark}" for cell_type, mark, _ in tracks], ", ")


def _listed(names: list[str], separator: str) -> str:
    shown = separator.join(names[:_EXAMPLES])
    return shown + (f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else "")

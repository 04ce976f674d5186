"""What is in a dataset, and signs of exchanged, empty and mislabelled tracks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from simplechrome.dataset.choose import imputed_tracks
from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.metrics import auroc
from simplechrome.schema import UNKNOWN_LABEL

_UNBALANCED = 0.1  # share of the smaller class below which a constant guess looks good
_USUAL_DIRECTION = {
    **{"H3K27me3": -1, "H3K9me3": -1, "H3K36me3": 1},
    **{"H3K4me1": 1, "H3K4me3": 1, "H3K27ac": 1, "H3K9ac": 1},
}
_WRONG_WAY = 0.45  # AUROC of a mark's level in its usual direction, below which it is suspicious
_DEPTH_RATIO = 2.0
_SHOWN = 5
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

H3K4me3 and acetylation peak at starts, H3K36me3 fills gene bodies and spares starts, the
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


def _rounded(value: float, digits: int = 4) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _describe_mark(
    signal: np.ndarray, label: np.ndarray, seen: np.ndarray, bin_start: np.ndarray, depth: float
) -> dict[str, Any]:
    """One mark of one cell type: signal (gene, bin), label (gene,), seen (gene,)."""
    if not seen.any():
        return {"present": False}
    values = signal[seen]
    level = values.mean(axis=1, dtype=np.float64)
    known = label[seen] != UNKNOWN_LABEL
    both = np.unique(label[seen][known]).size == 2
    near = np.abs(bin_start + 0.5 * np.diff(bin_start[:2], append=bin_start[-1:])[0]) <= 1000
    mean = float(level.mean())
    return {
        "present": True,
        "depth": _rounded(depth),
        "mean_per_bin": _rounded(mean),
        "promoter_enrichment": _rounded(values[:, near].mean() / mean)
        if mean and near.any()
        else None,
        "share_of_empty_windows": _rounded(float((values.max(axis=1) == 0).mean())),
        "smallest_bin": _rounded(float(values.min())),
        "largest_bin": _rounded(float(values.max())),
        "whole_numbers": bool(values.dtype.kind == "u" or (values == np.rint(values)).all()),
        "share_observed": _rounded(float(seen.mean())),
        "auroc_of_level": _rounded(auroc(label[seen][known], level[known])) if both else None,
    }


def describe(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what is in a dataset, in numbers.

    Returns plain JSON: sizes, window, cell types (labels, class balance, expression, marks with
    their mean level, enrichment within 1 kb of the TSS, the AUROC of their level alone and the mean
    correlation of their levels with those of the same mark in other cell types), chromosomes, genes
    without data, genes that the build dropped and why, published split, marks that look exchanged
    (see `likely_swaps`), and `warnings`, each a sentence with advice.
    """
    present = present_marks(dataset)
    starts = dataset["bin_start"].values
    cell_types: dict[str, Any] = {}
    for row, name in enumerate(dataset["cell_type"].values):
        label = dataset["label"].values[row]
        known = label[label != UNKNOWN_LABEL]
        cell_types[str(name)] = {
            "genes_with_label": int(known.size),
            "share_high": _rounded(known.mean()) if known.size else None,
            "genes_with_expression": int(np.isfinite(dataset["expression"].values[row]).sum()),
            "genes_without_data": int((~present[row].any(axis=1)).sum()),
            "marks": {
                str(mark): _describe_mark(
                    dataset["signal"].values[row, :, :, column],
                    label,
                    present[row, :, column],
                    starts,
                    float(dataset["depth"].values[row, column]),
                )
                for column, mark in enumerate(dataset["mark"].values)
            },
        }
    for name, mark in imputed_tracks(dataset):
        cell_types[name]["marks"][mark]["imputed"] = True
    correlations = level_correlations(dataset)
    for name, mark in correlations.tracks:
        alike = correlations.with_mark(name, mark, mark)
        cell_types[name]["marks"][mark]["correlation_with_same_mark"] = _rounded(alike)
    result: dict[str, Any] = {
        "sizes": {str(name): int(size) for name, size in dataset.sizes.items()},
        "window": {
            "bin_size": int(dataset.attrs["bin_size"]),
            "from": int(starts[0]),
            "to": int(starts[-1]) + int(dataset.attrs["bin_size"]),
        },
        "units": dataset["signal"].attrs.get("units", ""),
        "assembly": dataset.attrs.get("assembly", ""),
        "label_rule": dataset["label"].attrs.get("rule", ""),
        "note": dataset.attrs.get("note", ""),
        "cell_types": cell_types,
        "chromosomes": _chromosomes(dataset),
        "genes_without_data": int((~present.any(axis=(0, 2))).sum()),
        "genes_left_out": dict(dataset.attrs.get("build", {}).get("genes_left_out", {})),
        "published_split": _published_split(dataset),
        "likely_swaps": [list(swap) for swap in likely_swaps(correlations)],
    }
    result["warnings"] = _advise(result)
    return result


def _chromosomes(dataset: xr.Dataset) -> dict[str, int] | None:
    if "chrom" not in dataset.coords:
        return None
    names, counts = np.unique(dataset["chrom"].values.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {names[i] or "(no place)": int(counts[i]) for i in order}


def say_lost_genes(dataset: xr.Dataset) -> list[str]:
    """Return sentences on genes without data, and genes of the annotation that are dropped."""
    sentences = []
    unseen = ~present_marks(dataset).any(axis=2)
    never = int(unseen.all(axis=0).sum())
    if never:
        sentences.append(
            f"{never:,} of {unseen.shape[1]:,} genes have no data in any track; they are kept, and "
            "masked."
        )
    counts = zip(dataset["cell_type"].values, unseen.sum(axis=1) - never, strict=True)
    if partly := [f"{count:,} in {name}" for name, count in counts if count]:
        sentences.append(
            "Genes masked for lack of data in one cell type, and not in all: "
            f"{_listed(partly, more=' more cell types')}."
        )
    dropped = dataset.attrs.get("build", {}).get("genes_left_out", {})
    if reasons := [f"{count:,} {reason}" for reason, count in dropped.items() if count]:
        sentences.append(f"Genes of the annotation that were dropped: {', '.join(reasons)}.")
    return sentences


def _published_split(dataset: xr.Dataset) -> dict[str, Any] | None:
    if "published_split" not in dataset.coords:
        return None
    result = {}
    for part in ("train", "valid", "test"):
        inside = dataset["published_split"].values == part
        known = dataset["label"].values[:, inside]
        known = known[known != UNKNOWN_LABEL]
        high = _rounded(known.mean()) if known.size else None
        result[part] = {"genes": int(inside.sum()), "share_high": high}
    return result


def _advise(description: dict[str, Any]) -> list[str]:
    """Return what a careful colleague would advise on seeing these numbers."""
    advice: list[str] = []
    if description["note"]:
        advice.append(f"Note of the dataset: {description['note']}.")
    if description["chromosomes"] is None:
        advice.append(
            "The genes have no place: build with --genes FILE, or whole chromosomes cannot be "
            "held out."
        )
    advice += quality_advice(description)
    cell_types = description["cell_types"]
    for name, cell in cell_types.items():
        high = cell["share_high"]
        if high is None:
            advice.append(
                f"{name} has no labels: it can be encoded and predicted, but not trained on."
            )
        elif min(high, 1 - high) < _UNBALANCED:
            advice.append(
                f"{name}: {high:.0%} of the labels are high. A constant guess is right for "
                f"{max(high, 1 - high):.0%}; look at AUROC, not accuracy, and check the labels."
            )
        for mark, numbers in cell["marks"].items():
            area = numbers.get("auroc_of_level")
            direction = _USUAL_DIRECTION.get(mark)
            if direction and area is not None and (area - 0.5) * direction < _WRONG_WAY - 0.5:
                advice.append(
                    f"{name} {mark}: its level is {'lower' if direction > 0 else 'higher'} in "
                    "highly expressed genes, against all experience. Is the file swapped?"
                )
            if numbers.get("mean_per_bin") == 0:
                advice.append(f"{name} {mark} holds no signal at all.")
    for mark in sorted({mark for cell in cell_types.values() for mark in cell["marks"]}):
        cells = [cell["marks"][mark] for cell in cell_types.values()]
        levels = [c["mean_per_bin"] for c in cells if c["present"] and c["mean_per_bin"]]
        if len(cells) > 1 and sum(c["present"] for c in cells) == 1:
            advice.append(f"{mark} is in one cell type only: nothing about it can carry over.")
        if len(levels) > 1 and max(levels) > _DEPTH_RATIO * min(levels):
            advice.append(
                f"{mark}: the mean per bin runs from {min(levels):.2g} to {max(levels):.2g} "
                "between cell types; `simplechrome predict` scales its input to the depth of "
                "training, and reports by how much."
            )
    published = description["published_split"] or {}
    shares = {name: p["share_high"] for name, p in published.items() if p["share_high"] is not None}
    if shares and max(shares.values()) - min(shares.values()) > _UNBALANCED:
        advice.append(
            "The published split is not balanced: the fraction of high genes is "
            + ", ".join(f"{share:.0%} in {name}" for name, share in shares.items())
            + ". Split by chromosome instead."
        )
    return advice


def format_description(description: dict[str, Any]) -> str:
    """Return a description as lines for a terminal."""
    sizes, window = description["sizes"], description["window"]
    lines = [
        f"{sizes['cell_type']} cell types, {sizes['gene']} genes, {sizes['mark']} marks, "
        f"{sizes['bin']} bins of {window['bin_size']} bp "
        f"({window['from']:+d} to {window['to']:+d} bp from the TSS)",
        f"units: {description['units'] or 'unknown'}; assembly: "
        f"{description['assembly'] or 'unknown'}; labels: {description['label_rule']}",
    ]
    if description["chromosomes"]:
        shown = list(description["chromosomes"].items())
        lines.append("genes per chromosome: " + ", ".join(f"{n} {c}" for n, c in shown[:30]))
    if description["genes_without_data"]:
        lines.append(f"genes without data in any track: {description['genes_without_data']}")
    left_out = {why: count for why, count in description["genes_left_out"].items() if count}
    if left_out:
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items())
        lines.append(f"genes dropped: {reasons}")
    lines += ["", f"{'cell type':<10} {'labels':>7} {'high':>6}  mean per bin (AUROC of level)"]
    for name, cell in description["cell_types"].items():
        share = cell["share_high"]
        marks = []
        for mark, numbers in cell["marks"].items():
            if not numbers["present"]:
                marks.append(f"{mark} –")
                continue
            area = numbers["auroc_of_level"]
            text = "" if area is None else f" ({area:.2f})"
            described = f"{mark} imputed" if numbers.get("imputed") else mark
            marks.append(f"{described} {numbers['mean_per_bin']:.3g}{text}")
        high = "–" if share is None else f"{share:.1%}"
        lines.append(f"{name:<10} {cell['genes_with_label']:>7} {high:>6}  {', '.join(marks)}")
    lines.append("")
    lines += [f"! {sentence}" for sentence in description["warnings"]] or ["No warnings."]
    return "\n".join(lines)


class Correlations(NamedTuple):
    """Correlations between the levels of tracks, over genes.

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
    """Return the correlation between the levels of every two tracks, over genes.

    The level is the mean signal of a window. Genes without data in a track count as average.
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
    """Return pairs of marks that look exchanged in a cell type.

    Two marks are named if, exchanged, they correlate better with the same marks of the other cell
    types. The clearest pair is corrected before the next is searched, since an exchanged pair
    makes those that are compared with it look wrong, too.

    Returns (cell type, mark, mark). With two cell types alone it is unknown in which of them the
    marks are exchanged: both are named.
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
        # Equal but for rounding: two cell types that contradict each other.
        clearest = [pair for pair, gain in gains.items() if gain > best - 1e-6]
        found += clearest
        cell_type, one, other = clearest[0]
        exchanged = {(cell_type, one): (cell_type, other), (cell_type, other): (cell_type, one)}
        names = [exchanged.get(name, name) for name in names]


def _gains(correlations: Correlations) -> dict[tuple[str, str, str], float]:
    """Return what an exchange of two marks adds to their correlations with other cell types."""
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


_Track = tuple[str, str, dict[str, Any]]


def quality_advice(description: dict[str, Any]) -> list[str]:
    """Return what looks wrong with measured tracks, and what to do about it.

    Parameters
    ----------
    description : see `describe`. Imputed tracks are skipped.
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


def _swap_advice(swaps: list[list[str]], n_cell_types: int) -> list[str]:
    advice = []
    for one, other in dict.fromkeys((one, other) for _, one, other in swaps):
        cells = [cell_type for cell_type, *marks in swaps if marks == [one, other]]
        # With two cell types that contradict each other, either may be right.
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

    def usual(mark: str, enrichment: float) -> bool:
        return USUAL_ENRICHMENT[mark][0] <= enrichment <= USUAL_ENRICHMENT[mark][1]

    odd = {
        (cell_type, mark): numbers["promoter_enrichment"]
        for cell_type, mark, numbers in tracks
        if numbers["promoter_enrichment"] is not None
        and mark in USUAL_ENRICHMENT
        and not usual(mark, numbers["promoter_enrichment"])
    }
    advice = []
    for (cell_type, mark), enrichment in odd.items():
        low, high = USUAL_ENRICHMENT[mark]
        limits = f"{low:g} or more" if high == np.inf else f"{low:g} to {high:g}"
        partner = next(
            (
                other
                for (cell, other), theirs in odd.items()
                if cell == cell_type and usual(other, enrichment) and usual(mark, theirs)
            ),
            "",
        )
        advice.append(
            f"{cell_type} {mark}: within 1 kb of the TSS it has {enrichment:.2g} times the mean "
            f"of its windows (usual: {limits if low else f'{high:g} or less'}). "
            + (
                f"It fits {partner}, and {partner} of this cell type fits {mark}: are the two "
                "files exchanged?"
                if partner
                else "Is it the file of another mark, or a failed experiment?"
            )
        )
    return advice


def _kind_advice(units: str, tracks: list[_Track]) -> list[str]:
    """Return advice on tracks whose values are not of the kind that the units state."""
    filled = [track for track in tracks if track[2]["mean_per_bin"]]
    negative = [track for track in filled if track[2]["smallest_bin"] < 0]
    broken = [t for t in filled if not t[2]["whole_numbers"] and t not in negative]
    whole = [t for t in filled if t[2]["whole_numbers"] and t not in negative]
    advice = []
    if negative:
        advice.append(
            f"{_named(negative)}: values below 0, as log ratios have. Models need counts, or "
            "signal from 0 up."
        )
    if units == "reads" and broken:
        advice.append(
            f"{_named(broken)}: the units are reads, but values are not whole numbers. These are "
            "p-values, fold change or normalized counts: build from BAM files, or name their "
            "kind with --units, so that no model of reads takes them for such."
        )
    elif units not in ("reads", "") and whole and not broken:
        advice.append(
            f"{_named(whole)}: the units are {units}, but all values are whole numbers. If these "
            "are read counts, build with the units reads."
        )
    elif whole and broken:
        few, kind = (whole, "whole") if len(whole) < len(broken) else (broken, "broken")
        advice.append(
            f"{_named(few)}: {kind} numbers, unlike all other tracks. Are files of different kinds "
            "mixed?"
        )
    return advice


def _coverage_advice(tracks: list[_Track]) -> list[str]:
    empty = [
        track
        for track in tracks
        if track[2]["mean_per_bin"] and track[2]["share_of_empty_windows"] > _ALMOST_EMPTY
    ]
    little = [track for track in tracks if track[2]["share_observed"] < _LITTLE_DATA]
    advice = [
        f"{_named(empty)}: hardly any window holds signal. Was the file cut off, or is it of "
        "another genome?"
    ][: len(empty)]
    if little:
        least = min(track[2]["share_observed"] for track in little)
        advice.append(
            f"{_named(little)}: windows without any data (down to {least:.0%} have some). They are "
            "masked; --drop-unobserved drops such genes."
        )
    return advice


def _named(tracks: list[_Track]) -> str:
    return _listed([f"{cell_type} {mark}" for cell_type, mark, _ in tracks])


def _listed(names: list[str], separator: str = ", ", more: str = " more") -> str:
    shown = separator.join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN}{more}" if len(names) > _SHOWN else "")

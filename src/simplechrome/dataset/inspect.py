"""What is in a dataset, and what should its user know before trusting it?"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from simplechrome.dataset.observed import imputed_tracks
from simplechrome.dataset.quality import level_correlations, likely_swaps, quality_advice
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
    """What is in this dataset, in numbers?

    Returns
    -------
    Plain JSON: sizes, window, cell types (labels, class balance, expression, marks with their
    mean level, enrichment within 1 kb of the TSS, the AUROC of their level alone and the mean
    correlation of their levels with those of the same mark in other cell types), chromosomes,
    genes without data, genes that the build left out and why, published split, marks that look
    exchanged (see `likely_swaps`), and `warnings`, each a sentence with advice.
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
    """Which genes have no data, and which of the annotation are not in the dataset at all?

    Returns
    -------
    Sentences; none where every gene is there and has data in every cell type.
    """
    said = []
    unseen = ~present_marks(dataset).any(axis=2)
    never = int(unseen.all(axis=0).sum())
    if never:
        said.append(
            f"{never:,} of {unseen.shape[1]:,} genes have no data in any track; they are kept, and "
            "masked."
        )
    counts = unseen.sum(axis=1) - never
    partly = [
        f"{count:,} in {name}"
        for name, count in zip(dataset["cell_type"].values, counts, strict=True)
        if count
    ]
    if partly:
        more = f" and {len(partly) - _SHOWN} more cell types" if len(partly) > _SHOWN else ""
        said.append(
            "Genes masked for lack of data in one cell type, and not in all: "
            f"{', '.join(partly[:_SHOWN])}{more}."
        )
    left_out = dataset.attrs.get("build", {}).get("genes_left_out", {})
    reasons = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
    if reasons:
        said.append(f"Genes of the annotation that were left out: {', '.join(reasons)}.")
    return said


def _published_split(dataset: xr.Dataset) -> dict[str, Any] | None:
    if "published_split" not in dataset.coords:
        return None
    parts = dataset["published_split"].values
    label = dataset["label"].values
    result = {}
    for part in ("train", "valid", "test"):
        known = label[:, parts == part]
        known = known[known != UNKNOWN_LABEL]
        share = _rounded(known.mean()) if known.size else None
        result[part] = {"genes": int((parts == part).sum()), "share_high": share}
    return result


def _advise(description: dict[str, Any]) -> list[str]:
    """Sentences that a careful colleague would say on seeing these numbers."""
    advice: list[str] = []
    if description["note"]:
        advice.append(f"Note of the dataset: {description['note']}.")
    if description["chromosomes"] is None:
        advice.append(
            "The genes have no place: build with --genes FILE, or whole chromosomes cannot be "
            "held out."
        )
    advice += quality_advice(description)
    for name, cell in description["cell_types"].items():
        share = cell["share_high"]
        if share is None:
            advice.append(
                f"{name} has no labels: it can be encoded and predicted, not learned from."
            )
        elif min(share, 1 - share) < _UNBALANCED:
            advice.append(
                f"{name}: {share:.0%} of the labels are high. A constant guess is right for "
                f"{max(share, 1 - share):.0%}; look at AUROC, not accuracy, and check the labels."
            )
        for mark, numbers in cell["marks"].items():
            if not numbers["present"]:
                continue
            direction = _USUAL_DIRECTION.get(mark)
            area = numbers["auroc_of_level"]
            if direction and area is not None:
                usual = area if direction > 0 else 1 - area
                if usual < _WRONG_WAY:
                    advice.append(
                        f"{name} {mark}: its level is {'lower' if direction > 0 else 'higher'} in "
                        "highly expressed genes, against all experience. Is the file swapped?"
                    )
            if numbers["mean_per_bin"] == 0:
                advice.append(f"{name} {mark} holds no signal at all.")
    marks = {mark for cell in description["cell_types"].values() for mark in cell["marks"]}
    for mark in sorted(marks):
        cells = [cell["marks"][mark] for cell in description["cell_types"].values()]
        levels = [c["mean_per_bin"] for c in cells if c["present"] and c["mean_per_bin"]]
        if len(cells) > 1 and sum(c["present"] for c in cells) == 1:
            advice.append(
                f"{mark} is there in one cell type only: nothing about it can carry over."
            )
        if len(levels) > 1 and max(levels) > _DEPTH_RATIO * min(levels):
            advice.append(
                f"{mark}: the mean per bin runs from {min(levels):.2g} to {max(levels):.2g} "
                "between cell types; `simplechrome predict` scales what it is given to the depth "
                "of training, and says by how much."
            )
    published = description["published_split"]
    shares = {
        name: part["share_high"]
        for name, part in (published or {}).items()
        if part["share_high"] is not None
    }
    if shares and max(shares.values()) - min(shares.values()) > _UNBALANCED:
        advice.append(
            "The published split is not balanced: the share of high genes is "
            + ", ".join(f"{share:.0%} in {name}" for name, share in shares.items())
            + ". Split by chromosome instead."
        )
    return advice


def format_description(description: dict[str, Any]) -> str:
    """How does a description read on a terminal?"""
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
        lines.append(f"genes left out: {reasons}")
    lines += [
        "",
        f"{'cell type':<10} {'labels':>7} {'high':>6}  mean per bin (AUROC of level)",
    ]
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

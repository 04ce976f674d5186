"""Do the options of a simulation make sense?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simplechrome.errors import ConfigError
from simplechrome.sources.simulation_chromatin import MARKS
from simplechrome.sources.simulation_expression import LARGEST_NEIGHBOR_EFFECT
from simplechrome.sources.simulation_genome import Part, stream


def mark_present(
    missing: float | Mapping[str, Sequence[str]],
    marks: tuple[str, ...],
    cell_types: tuple[str, ...],
    seed: int,
) -> NDArray[np.bool_]:
    """Which tracks are there? (cell_type, mark)

    Raises
    ------
    ConfigError
        If marks or cell types are unknown, or a cell type is left without a mark.
    """
    unknown = [mark for mark in marks if mark not in MARKS]
    if unknown or not marks or len(set(marks)) < len(marks):
        raise ConfigError(
            "marks must name one or more of the five core marks, each once.",
            found=", ".join(map(str, marks)) or "none",
            expected=", ".join(MARKS),
        )
    present = np.ones((len(cell_types), len(marks)), dtype=bool)
    if isinstance(missing, Mapping):
        for name, absent in missing.items():
            if name not in cell_types:
                raise ConfigError(
                    f"missing_marks names the cell type {name!r}, which is not simulated.",
                    found=str(name),
                    expected=f"{cell_types[0]} to {cell_types[-1]}",
                    remedy="raise n_cell_types, or name another cell type",
                )
            for mark in (absent,) if isinstance(absent, str) else absent:
                if mark not in marks:
                    raise ConfigError(
                        f"missing_marks names the mark {mark!r}, which is not simulated.",
                        found=str(mark),
                        expected=", ".join(marks),
                    )
                present[cell_types.index(name), marks.index(mark)] = False
        bare = [name for name, row in zip(cell_types, present, strict=True) if not row.any()]
        if bare:
            raise ConfigError(
                f"missing_marks leaves no mark in {len(bare)} cell types.",
                found=", ".join(bare[:5]),
                expected="one mark or more in each",
            )
        return present
    if not 0 <= missing < 1:
        raise ConfigError(
            "missing_marks makes no sense as a share of tracks.",
            found=str(missing),
            expected="0 or more and below 1, or marks per cell type",
        )
    for k in range(len(cell_types)):
        drawn = stream(seed, Part.MISSING, k).random(len(MARKS))
        chance = drawn[[MARKS.index(mark) for mark in marks]]
        present[k] = (chance >= missing) | (chance == chance.max())
    return present


def check_numbers(n_genes: int, n_cell_types: int, seed: int, n_bins: int, bin_size: int) -> None:
    """Are these whole numbers that can be simulated? Raises ConfigError if not."""
    limits = {
        "n_genes": (n_genes, 2, 999_999),  # ids in the published layout have six digits
        "n_cell_types": (n_cell_types, 1, 999),
        "seed": (seed, 0, None),
        "n_bins": (n_bins, 2, 100_000),
        "bin_size": (bin_size, 1, 2_000),
    }
    for name, (value, smallest, largest) in limits.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < smallest or (largest is not None and value > largest):
            raise ConfigError(
                f"{name} makes no sense.",
                found=str(value),
                expected=f"a whole number from {smallest}"
                + ("" if largest is None else f" to {largest:,}"),
            )


def check_effects(signal: float, neighbor: float, band: tuple[int, int]) -> None:
    """Can effects of this size be planted? Raises ConfigError if not."""
    for name, value, largest in (
        ("signal_effect", signal, 1.0),
        ("neighbor_effect", neighbor, LARGEST_NEIGHBOR_EFFECT),
    ):
        if not 0 <= value <= largest:
            raise ConfigError(
                f"{name} makes no sense.",
                found=str(value),
                expected=f"a number from 0 to {largest:g}",
            )
    if len(band) != 2 or not 0 < band[0] < band[1]:
        raise ConfigError(
            "neighbor_band makes no sense.",
            found=str(band),
            expected="two distances in bp, the smaller first, above 0",
        )

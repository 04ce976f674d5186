"""From chromatin to expression: the planted weights, the neighbor effect, the noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simplechrome.simulation.genome import Genome, Part, stream

Values = NDArray[np.floating[Any]]


class PlantedWeight(NamedTuple):
    """What a stretch of one mark does to expression."""

    mark: str
    start: int  # bp from the gene's start, along transcription
    end: int
    weight: float  # log2 RPKM per unit of the stretch's mean log(1 + reads per 100 bp)


PLANTED = (
    PlantedWeight("H3K4me3", -1500, -100, 0.25),
    PlantedWeight("H3K4me3", -100, 700, 0.75),
    PlantedWeight("H3K4me3", 700, 1500, 0.50),
    PlantedWeight("H3K4me3", 1500, 3000, 0.45),
    PlantedWeight("H3K36me3", 700, 3000, 0.80),
    PlantedWeight("H3K36me3", 3000, 5000, 0.70),
    PlantedWeight("H3K4me1", -3000, -500, 0.15),
    PlantedWeight("H3K4me1", -100, 700, -0.15),
    PlantedWeight("H3K4me1", 1500, 5000, 0.40),
    PlantedWeight("H3K27me3", -100, 1500, -0.15),
    PlantedWeight("H3K27me3", 1500, 3000, -0.15),
    PlantedWeight("H3K9me3", -5000, -3000, -0.15),
    PlantedWeight("H3K9me3", 1500, 5000, -0.30),
)

MEAN_LEVEL = 4.2
"""Mean of the weighted sum over genes: contributions are counted from here."""
MEAN_SCORE = 2.0
"""Mean log2 RPKM before the bend."""
SCORE_VARIANCE = 8.0
NOISE = 0.75
OUTLIER_SHARE, OUTLIER_FACTOR = 0.13, 4.0
"""Expression is noisy, and for some genes has little to do with their chromatin."""
NOISE_CONSTANT_SHARE = 0.3
"""Share of the noise's variance that is the same in all cell types."""
NOISE_VARIANCE = NOISE**2 * (1 - OUTLIER_SHARE + OUTLIER_SHARE * OUTLIER_FACTOR**2)
LARGEST_NEIGHBOR_EFFECT = 0.2
"""More than this share the noise could not give up."""
BEND, KNEE = 2.0, 0.5
"""Below the knee, log2 RPKM falls (1 + bend) times as fast: silent genes are silent."""
SMALLEST_RPKM = 0.01


def planted_weights(offset: Values, bin_size: int, marks: tuple[str, ...]) -> Values:
    """Which bins of which marks matter for expression, and how much?

    Parameters
    ----------
    offset : (bin,), middle of each bin, bp from the start

    Returns
    -------
    (bin, mark), log2 RPKM per unit of log(1 + reads per 100 bp).
    """
    result = np.zeros((offset.size, len(marks)))
    for mark, start, end, weight in PLANTED:
        if mark in marks:
            left, right = offset - bin_size / 2, offset + bin_size / 2
            inside = np.clip(np.minimum(right, end) - np.maximum(left, start), 0, None)
            result[:, marks.index(mark)] += weight * inside / (end - start)
    return result


def neighbor_level(
    genome: Genome, level: Values, band: tuple[int, int]
) -> tuple[Values, NDArray[np.int64]]:
    """How active is the chromatin of the genes that lie `band` away?

    Parameters
    ----------
    level : (gene,), in genomic order
    band
        Smallest distance between starts, and the first that is too large, bp.

    Returns
    -------
    Mean level of these genes, 0 where there are none, and their number; (gene,) each.
    """
    near, far = band
    place = genome.place
    total = np.insert(np.cumsum(level), 0, 0.0)
    after = np.searchsorted(place, place + near), np.searchsorted(place, place + far)
    before = (
        np.searchsorted(place, place - far, side="right"),
        np.searchsorted(place, place - near, side="right"),
    )
    number = after[1] - after[0] + before[1] - before[0]
    level_sum = total[after[1]] - total[after[0]] + total[before[1]] - total[before[0]]
    mean = np.divide(level_sum, number, out=np.zeros(level.size), where=number > 0)
    return mean, number.astype(np.int64)


def _beyond_own(around: Values, own: Values, chosen: NDArray[np.bool_]) -> Values:
    """What do the neighbors' levels say that the gene's own level does not?

    Neighbors resemble each other; without this step a model that knows no neighbors would
    gain from a neighbor effect too.
    """
    x, y = own[chosen], around[chosen]
    if x.size < 3 or x.std() == 0:
        return np.zeros(x.size)
    slope = np.mean((x - x.mean()) * (y - y.mean())) / x.var()
    return y - y.mean() - slope * (x - x.mean())


class Expression(NamedTuple):
    """RPKM and the parts of its logarithm, (gene,) each, in genomic order."""

    rpkm: NDArray[np.float32]
    own: Values
    neighbor: Values
    n_neighbors: NDArray[np.int64]


def express(
    genome: Genome,
    level: Values,
    cell_type: int,
    seed: int,
    *,
    signal_effect: float,
    neighbor_effect: float,
    neighbor_band: tuple[int, int],
) -> Expression:
    """How strongly is each gene expressed?

    Parameters
    ----------
    level : (gene,), weighted sum of the log intensities of the gene's window
    """
    n_genes = level.size
    centered = level - MEAN_LEVEL
    own = signal_effect * centered
    # What the tie to the own window gives up, a random gene's level replaces: the distribution
    # of expression stays as it was.
    untied = centered[stream(seed, Part.UNTIED).permutation(n_genes)]
    other = np.sqrt(1 - signal_effect**2) * untied

    around, number = neighbor_level(genome, centered, neighbor_band)
    neighbor = np.zeros(n_genes)
    beyond = _beyond_own(around, centered, number > 0)
    if neighbor_effect > 0 and beyond.any():
        neighbor[number > 0] = np.sqrt(neighbor_effect * SCORE_VARIANCE) * beyond / beyond.std()

    of_gene, varying = stream(seed, Part.EXPRESSION), stream(seed, Part.EXPRESSION, cell_type)
    noise = NOISE * (
        np.sqrt(NOISE_CONSTANT_SHARE) * of_gene.standard_normal(n_genes)
        + np.sqrt(1 - NOISE_CONSTANT_SHARE) * varying.standard_normal(n_genes)
    )
    noise[of_gene.random(n_genes) < OUTLIER_SHARE] *= OUTLIER_FACTOR
    noise *= np.sqrt(1 - neighbor_effect * SCORE_VARIANCE / NOISE_VARIANCE)

    score = MEAN_SCORE + own + other + neighbor + noise
    rpkm = 2 ** (score - BEND * np.logaddexp(0, KNEE - score))
    rpkm[rpkm < SMALLEST_RPKM] = 0
    return Expression(rpkm.round(3).astype(np.float32), own, neighbor, number)

"""The simulated model: from factors to reads of five marks, and from these to expression.

Lengths are in bp along transcription with the gene's start at 0, amounts in reads per 100 bp of
the reference track. The constants were set by comparing the figures that
`benchmarks/calibrate_simulation.py` prints for simulated data and for the real cell type E012;
the equations stand in docs/explanation/simulation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simplechrome.simulation.genome import FACTORS, Genome, Part, stream

Values = NDArray[np.floating[Any]]

MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
"""In the order of the published files."""

REACH = 10_000
"""A gene shapes the chromatin this many bp to both sides of its start."""
PER_BASES = 100
"""Amounts are reads per so many bp, whatever the size of the bins."""
CEILING = 150.0
"""Reads that no mark passes by much, since enrichment saturates."""
READS_ON_BORDERS = 0.09
"""Share of a 100-bp bin's reads that lie across its end and count in the next bin too."""
FINE, COARSE = 150.0, 700.0
"""Correlation lengths of the texture, bp."""
ISLAND_BELOW = 0.4
"""CpG-island promoters are the genes whose factor `island` lies below this (65 %)."""


class MarkModel(NamedTuple):
    """How a mark behaves, whatever its profile."""

    background: float  # reads far from genes
    clumping: float  # variance / mean of the counts around what is expected
    fine: float  # deviation of the log intensity, correlated over FINE bp
    coarse: float  # the same over COARSE bp
    depletion: float  # how strongly an open promoter empties its start


MODELS = {
    "H3K27me3": MarkModel(0.60, 1.40, 0.20, 0.90, 0.8),
    "H3K36me3": MarkModel(0.52, 1.40, 0.10, 0.60, 1.2),
    "H3K4me1": MarkModel(0.65, 1.35, 0.10, 0.80, 2.6),
    "H3K4me3": MarkModel(0.50, 1.45, 0.30, 0.40, 0.0),
    "H3K9me3": MarkModel(0.72, 1.38, 0.20, 0.30, 0.8),
}


class Strip(NamedTuple):
    """The genome with the stretches that no gene reaches cut out."""

    offset: Values  # (offset,) middle of the bin, bp from the start
    bins: NDArray[np.int64]  # (gene, offset) the strip's bin at each offset of each gene
    piece: NDArray[np.int64]  # (strip bin,) first gene of the connected piece it lies in
    bin_size: int


def lay_strip(genome: Genome, reach: int, bin_size: int) -> Strip:
    """Return the bins that genes reach, shared by close genes; `reach` counts bins."""
    apart = np.diff(genome.tss // bin_size + (genome.place - genome.tss))
    center = reach + np.insert(np.cumsum(np.minimum(apart, 2 * reach + 1)), 0, 0)
    offset = np.arange(-reach, reach + 1)
    first = np.flatnonzero(np.insert(apart > 2 * reach, 0, True))
    ends = np.append(center[first[1:]] - reach, center[-1] + reach + 1)
    return Strip(
        (offset + 0.5) * bin_size,
        center[:, None] + genome.direction[:, None] * offset,
        np.repeat(first, np.diff(ends, prepend=0)),
        bin_size,
    )


def _sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


def _bump(u: Values, center: Values | float, width: Values | float) -> Values:
    return np.exp(-0.5 * np.square((u - center) / width))


def _either(condition: NDArray[np.bool_], yes: float, no: float) -> Values:
    return np.where(condition, np.float32(yes), np.float32(no))


class _State:
    """Properties of all genes of a cell type that shape the profiles.

    `u` is (gene, offset), the distance from the start in use; all others are (gene, 1).
    """

    def __init__(
        self, genome: Genome, strip: Strip, factors: NDArray[np.float64], seed: int
    ) -> None:
        n_genes = genome.tss.size
        rng = stream(seed, Part.STARTS)
        # The annotated start is rarely quite the one in use, and sometimes another promoter's.
        misplaced = np.where(rng.random(n_genes) < 0.92, 150, 900) * rng.standard_normal(n_genes)
        length = 10 ** (4.4 + 0.6 * rng.standard_normal(n_genes))
        self.u: Values = (strip.offset - misplaced[:, None]).astype(np.float32)
        self.length: Values = length.astype(np.float32)[:, None]
        self.factor: dict[str, Values] = {
            factor.name: factors[:, k, None].astype(np.float32) for k, factor in enumerate(FACTORS)
        }
        self.island = self.factor["island"] < ISLAND_BELOW
        self.block = _sigmoid(8 * (self.factor["heterochromatin"] - 2.4))
        self.activity = self.factor["activity"] - 1.5 * self.block
        self.open = _sigmoid(8 * self.activity + _either(self.island, 6.4, -5.6))
        self.running = _sigmoid(3 * self.activity + 0.6)
        reachable = _sigmoid(3 * self.factor["polycomb"] + _either(self.island, 0.8, -3.6))
        self.silenced = reachable * (1.01 - _sigmoid(4 * self.activity + 1.2))
        self.breadth = np.exp(0.22 * self.factor["breadth"] + 0.16 * self.factor["activity"])


def _h3k4me3(g: _State) -> Values:
    """Two peaks around the emptied start, the downstream one higher."""
    active = _either(g.island, 72, 64) * g.open * np.exp(0.4 * np.minimum(g.activity, 1.5))
    poised = _either(g.island, 9, 1.8) * g.silenced
    upstream = _sigmoid(0.8 * g.factor["upstream"] - 0.7)
    shape = (
        1.1 * _bump(g.u, 200 + 200 * g.breadth, 270 * g.breadth)
        + upstream * _bump(g.u, -400, 210 * g.breadth)
        + 0.035 * np.exp(-np.abs(g.u) / 1800)
    )
    return (active + poised) * shape * (1 - 0.5 * g.open * _bump(g.u, -100, 130))


def _h3k4me1(g: _State) -> Values:
    """Flanks of open promoters, longer downstream; a low mound on closed ones."""
    height = 3.1 * np.exp(0.5 * g.factor["enhancer"])
    height = height * (0.06 + 0.94 * np.maximum(g.open, g.silenced))
    width = _either(g.u > 0, 1400, 800) * g.breadth
    return height * (0.85 * _bump(g.u, 200, width) + 0.15 * np.exp(-np.abs(g.u) / 4000))


def _h3k36me3(g: _State) -> Values:
    """Rises into the body of transcribed genes and ends with the gene."""
    height = np.exp(0.5 * g.factor["elongation"] + 0.15 * g.activity)
    body = _sigmoid((g.u - 2000) / 500) * _sigmoid((g.length - g.u) / 500)
    return 1.6 * g.running * g.open * height * body


def _h3k27me3(g: _State) -> Values:
    """Broad over silenced promoters, mostly CpG islands, with a shallow dip at the start."""
    height = 19 * np.exp(0.9 * g.factor["polycomb"]) * g.silenced
    spread = 2200 * np.exp(0.45 * g.factor["spread"])
    shape = 0.95 * np.exp(-np.abs(g.u - 200) / spread) + 0.05
    return height * shape * (1 - 0.3 * _bump(g.u, 0, 350))


_PROFILES = {"H3K27me3": _h3k27me3, "H3K36me3": _h3k36me3, "H3K4me1": _h3k4me1, "H3K4me3": _h3k4me3}
"""H3K9me3 has none: it is a matter of regions."""


def _background(g: _State, mark: str) -> Values:
    """Reads where nothing is enriched, (gene, 1)."""
    # Regions where few reads map; silent genes lie in them more often.
    lost = (0.3 + 0.5 * (1 - g.open)) * np.logaddexp(0, 1.7 * g.factor["background"])
    more = {
        "H3K9me3": 0.45 * g.factor["heterochromatin"] + 0.45 * (1 - g.open) + 2.0 * g.block,
        "H3K4me1": 0.40 * g.factor["enhancer"],
        "H3K36me3": 0.45 * g.factor["elongation"],
    }
    level: Values = MODELS[mark].background * np.exp(more.get(mark, 0) - lost)
    return level


def _texture(n_bins: int, model: MarkModel, bin_size: int, rng: np.random.Generator) -> Values:
    """Roughness of the log intensity along the strip; the exponential has mean 1."""
    result = np.full(n_bins, -0.5 * (model.fine**2 + model.coarse**2), dtype=np.float32)
    for deviation, length in ((model.fine, FINE), (model.coarse, COARSE)):
        reach = int(np.ceil(4 * length / bin_size))
        kernel = np.exp(-np.abs(np.arange(-reach, reach + 1)) * bin_size / length)
        kernel *= deviation / np.sqrt(np.square(kernel).sum())
        white = rng.standard_normal(n_bins + 2 * reach, dtype=np.float32)
        result += np.convolve(white, kernel.astype(np.float32), "valid")
    return result


class Landscape(NamedTuple):
    """One mark along the strip: background and enriched reads, and what modulates both."""

    mark: str
    background: Values
    enriched: Values
    modulation: Values

    def intensity(self, enrichment: float) -> Values:
        """Return the mean reads per 100 bp of a track of this enrichment."""
        total = (self.background + enrichment * self.enriched) * self.modulation
        return -CEILING * np.expm1(-total / CEILING)


def lay_marks(
    genome: Genome, strip: Strip, factors: NDArray[np.float64], cell_type: int, seed: int
) -> Iterator[Landscape]:
    """Yield the chromatin of a cell type, mark by mark.

    The contributions of all genes are added along the strip: a gene close to another has its
    neighbor's marks in its window.
    """
    state = _State(genome, strip, factors, seed)
    n_bins = strip.piece.size

    def add_up(profile: Values) -> Values:
        added = np.bincount(strip.bins.ravel(), profile.ravel(), n_bins)
        return added.astype(np.float32)

    emptied = add_up(np.log1p(-0.8 * state.open * _bump(state.u, 30, 300)))
    for k, mark in enumerate(MARKS):
        model = MODELS[mark]
        profile = _PROFILES.get(mark)
        rough = _texture(n_bins, model, strip.bin_size, stream(seed, Part.TEXTURE, k, cell_type))
        yield Landscape(
            mark,
            _background(state, mark)[strip.piece, 0],
            np.zeros(n_bins, np.float32) if profile is None else add_up(profile(state)),
            np.exp(rough + model.depletion * emptied),
        )


def count_reads(
    expected: Values, mark: str, bin_size: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Draw counts of reads around what is expected.

    Poisson around a gamma variate: variance = clumping × mean, a negative binomial whose size
    grows with its mean. A read across a bin's end counts in the next one too.

    Parameters
    ----------
    expected : (strip bin,), reads per bin, in genomic order
    """
    scale = np.float32(MODELS[mark].clumping - 1)
    across = min(READS_ON_BORDERS * PER_BASES / bin_size, 0.4)
    mean = rng.standard_gamma(expected / scale, dtype=np.float32) * scale
    reads = rng.poisson(mean * (1 - 2 * across))
    shared = rng.poisson(mean * across)
    reads += shared
    reads[1:] += shared[:-1]
    return np.minimum(reads, np.iinfo(np.uint16).max).astype(np.uint16)


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
"""Expression is noisy, and for some genes hardly depends on their chromatin."""
NOISE_CONSTANT_SHARE = 0.3
"""Fraction of the noise's variance that is the same in all cell types."""
NOISE_VARIANCE = NOISE**2 * (1 - OUTLIER_SHARE + OUTLIER_SHARE * OUTLIER_FACTOR**2)
LARGEST_NEIGHBOR_EFFECT = 0.2
"""A larger fraction the noise could not give up."""
BEND, KNEE = 2.0, 0.5
"""Below the knee, log2 RPKM falls (1 + bend) times as fast: silent genes are silent."""
SMALLEST_RPKM = 0.01


def planted_weights(offset: Values, bin_size: int, marks: tuple[str, ...]) -> Values:
    """Return the planted weight of each bin and mark for expression.

    Parameters
    ----------
    offset : (bin,), middle of each bin, bp from the start

    Returns (bin, mark), log2 RPKM per unit of log(1 + reads per 100 bp).
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
    """Return the mean level of the genes at a distance in `band`.

    Parameters
    ----------
    level : (gene,), in genomic order
    band : smallest distance between starts, and the first that is too large, bp

    Returns the mean level of these genes, 0 where there are none, and their number; (gene,) each.
    """
    near, far = band
    place = genome.place
    total = np.insert(np.cumsum(level), 0, 0.0)
    after = np.searchsorted(place, place + near), np.searchsorted(place, place + far)
    before = [np.searchsorted(place, place - away, side="right") for away in (far, near)]
    number = after[1] - after[0] + before[1] - before[0]
    level_sum = total[after[1]] - total[after[0]] + total[before[1]] - total[before[0]]
    mean = np.divide(level_sum, number, out=np.zeros(level.size), where=number > 0)
    return mean, number.astype(np.int64)


def _beyond_own(around: Values, own: Values, chosen: NDArray[np.bool_]) -> Values:
    """Return the residual of the neighbors' levels after regression on the gene's own level.

    Neighbors resemble each other; without this step a model without neighbors would gain from a
    neighbor effect too.
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
    """Draw the expression of each gene.

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

"""Places of simulated genes, and the factors that shape their chromatin."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHROMOSOME_SHARES = {
    "chr1": 104, "chr2": 64, "chr3": 55, "chr4": 39, "chr5": 45, "chr6": 51, "chr7": 46,
    "chr8": 34, "chr9": 39, "chr10": 38, "chr11": 65, "chr12": 54, "chr13": 17, "chr14": 32,
    "chr15": 30, "chr16": 43, "chr17": 57, "chr18": 14, "chr19": 71, "chr20": 28, "chr21": 11,
    "chr22": 23, "chrX": 40,
}  # fmt: skip
"""Genes of each chromosome per thousand genes of the genome."""

PAIR_SHARE = 0.08
PAIR_GAP = (2.4, 0.5)
GAP = (4.83, 0.51)
"""Gaps between starts, log10 bp (mean, deviation): two promoters side by side, all others."""
DENSITY_DEVIATION = 0.25
DENSITY_RUN = 15
"""Genes come dense and sparse in runs: deviation of the log10 gap, genes per run."""
OPPOSITE_STRANDS = (0.85, 0.46)
"""How often the next gene lies on the other strand: in a pair, elsewhere."""
LEAD = 1_000_000
"""No gene starts nearer to the chromosome's beginning."""
BETWEEN_CHROMOSOMES = 1 << 40

DOMAIN_LENGTH = 100_000.0
REGION_LENGTH = 15_000_000.0


class Factor(NamedTuple):
    """A standard normal cause of chromatin, and how its variance is shared out."""

    name: str
    region_share: float  # common to a stretch of REGION_LENGTH on average
    domain_share: float  # common to a stretch of DOMAIN_LENGTH; the rest is the gene's own
    constant_share: float  # the same in all cell types; the rest is this cell type's own


FACTORS = (
    Factor("island", 0.10, 0.25, 1.00),
    Factor("activity", 0.04, 0.40, 0.87),
    Factor("elongation", 0.15, 0.40, 0.85),
    Factor("polycomb", 0.10, 0.35, 0.80),
    Factor("enhancer", 0.30, 0.45, 0.60),
    Factor("breadth", 0.00, 0.10, 0.80),
    Factor("upstream", 0.00, 0.10, 0.80),
    Factor("spread", 0.05, 0.30, 0.65),
    Factor("heterochromatin", 0.90, 0.05, 0.60),
    Factor("background", 0.40, 0.30, 0.80),
)


class Genome(NamedTuple):
    """Genes in genomic order.

    Starts lie on the grid of bins (plus strand: a bin's first base, minus strand: its last), so
    that genes whose windows overlap share whole bins, and with them the same reads.
    """

    chrom: NDArray[np.str_]
    tss: NDArray[np.int64]
    direction: NDArray[np.int64]  # +1 or -1
    place: NDArray[np.int64]  # tss with the chromosomes moved far apart; never falling


class Part(IntEnum):
    """The parts of a simulation that draw random numbers of their own."""

    PLACES = 0
    BORDERS = 1
    CONSTANT = 2
    VARYING = 3
    STARTS = 4
    TEXTURE = 5
    TRACK = 6
    COUNTS = 7
    EXPRESSION = 8
    UNTIED = 9
    IDS = 10
    MISSING = 11


def stream(seed: int, part: Part, *index: int) -> np.random.Generator:
    """Return the random numbers of this part (and cell type, mark, factor).

    Each part draws from a stream of its own, so that an option changes what it names and leaves
    all other numbers as they were.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part, *index)))


def place_genes(n_genes: int, bin_size: int, seed: int) -> Genome:
    """Draw the places of genes.

    Gaps are log-normal, with runs of dense and sparse genes and pairs of close, mostly divergent
    starts. With fewer genes the chromosomes are shorter, not emptier.
    """
    rng = stream(seed, Part.PLACES)
    shares = np.array(list(CHROMOSOME_SHARES.values()), dtype=np.float64)
    ends = np.rint(np.cumsum(shares) / shares.sum() * n_genes).astype(np.int64)
    chromosome = np.searchsorted(ends, np.arange(n_genes), side="right")

    paired = rng.random(n_genes) < PAIR_SHARE
    noise = rng.standard_normal(n_genes)
    density = np.repeat(rng.standard_normal(n_genes // DENSITY_RUN + 1), DENSITY_RUN)[:n_genes]
    log_gap = np.where(
        paired,
        PAIR_GAP[0] + PAIR_GAP[1] * noise,
        GAP[0] + GAP[1] * noise + DENSITY_DEVIATION * density,
    )
    grid_gap = np.maximum(1, np.rint(10**log_gap / bin_size)).astype(np.int64)
    total = np.cumsum(grid_gap)
    first = np.diff(chromosome, prepend=-1) > 0
    before = np.maximum.accumulate(np.where(first, total, 0))
    grid = total - before + int(np.ceil(LEAD / bin_size))

    opposite = rng.random(n_genes) < np.where(paired, *OPPOSITE_STRANDS)
    direction = np.where(np.cumsum(opposite) % 2 == 0, 1, -1)
    tss = grid * bin_size + np.where(direction > 0, 0, bin_size - 1)
    names = np.array(list(CHROMOSOME_SHARES))
    return Genome(names[chromosome], tss, direction, tss + chromosome * BETWEEN_CHROMOSOMES)


def _stretches(genome: Genome, length: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the stretch of each gene, with borders once in `length` bp, at any place."""
    gap = np.diff(genome.place)
    border = rng.random(gap.size) >= np.exp(-gap / length)
    return np.insert(np.cumsum(border), 0, 0)


def draw_factors(genome: Genome, cell_type: int, seed: int) -> NDArray[np.float64]:
    """Draw the factors of each gene of a cell type.

    Two genes at distance d correlate by region_share·exp(−d/REGION_LENGTH) +
    domain_share·exp(−d/DOMAIN_LENGTH), the same gene in two cell types by constant_share.

    Returns (gene, factor), in the order of `FACTORS`, each of mean 0 and variance 1.
    """
    n_genes = genome.tss.size
    region, domain = (
        _stretches(genome, length, stream(seed, Part.BORDERS, k))
        for k, length in enumerate((REGION_LENGTH, DOMAIN_LENGTH))
    )
    result = np.empty((n_genes, len(FACTORS)))
    for k, factor in enumerate(FACTORS):
        gene_share = 1 - factor.region_share - factor.domain_share
        constant, varying = (
            np.sqrt(factor.region_share) * of_region[region]
            + np.sqrt(factor.domain_share) * of_domain[domain]
            + np.sqrt(gene_share) * of_gene
            for of_region, of_domain, of_gene in (
                stream(seed, Part.CONSTANT, k).standard_normal((3, n_genes)),
                stream(seed, Part.VARYING, k, cell_type).standard_normal((3, n_genes)),
            )
        )
        share = factor.constant_share
        result[:, k] = np.sqrt(share) * constant + np.sqrt(1 - share) * varying
    return result

"""What gene identifiers look like, and the same care for them in every source."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger(__name__)

GENE_ID_COLUMNS = ("gene_id", "gene", "ensembl_gene_id", "ensembl_id")
"""Headers under which a gene's identifier is looked for, the likeliest first."""

# Only Ensembl's own: a dot elsewhere may be part of the name (Y74C9A.6 in the worm). Pseudo-
# autosomal genes keep their suffix, which tells ENSG00000182378.14_PAR_Y from the one on chrX.
_VERSION = re.compile(r"(ENS[A-Z]*\d{11})\.\d+")


def normalize_header(name: str) -> str:
    """What does this header say, apart from case, spaces and dots?"""
    return re.sub(r"[\s.]+", "_", name.strip().lower())


def tidy_gene_ids(gene_ids: list[str], source: str, *, strip_version: bool) -> list[str]:
    """Which identifiers are meant, with or without Ensembl's version suffix?

    ENSG00000000003.14 becomes ENSG00000000003 if `strip_version`; otherwise it stays, and a
    remark is logged, since identifiers with and without version never match each other.
    """
    if strip_version:
        return [_VERSION.sub(r"\1", gene_id, count=1) for gene_id in gene_ids]
    versioned = [gene_id for gene_id in gene_ids if _VERSION.match(gene_id)]
    if versioned:
        logger.info(
            "%s: %d of %d gene ids carry a version, such as %s; it is kept "
            "(strip_version=True removes it)",
            source,
            len(versioned),
            len(gene_ids),
            versioned[0],
        )
    return gene_ids

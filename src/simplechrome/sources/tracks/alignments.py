"""BAM and CRAM to reads per bin."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.text import foreign_content, read_head
from simplechrome.sources.tracks.readers import ReadingOptions, TrackReader
from simplechrome.sources.tracks.reads import (
    PAIRED,
    PROPER_PAIR,
    REVERSE,
    ReadRule,
    Reads,
    bin_edges,
    count_reads,
)
from simplechrome.sources.tracks.windows import BinnedTrack, ChromWindows, Progress, Sizes, Windows

logger = logging.getLogger(__name__)

# FLAG, RNAME, POS, MAPQ, CIGAR and TLEN: neither bases nor qualities are ever decoded, so that a
# CRAM needs no reference genome and none is looked for in the network.
REQUIRED_FIELDS = "required_fields=0x13e"

_INDEX_ENDINGS = (".csi", ".bai", ".crai")


def _index_path(path: Path) -> Path | None:
    places = [path.with_name(path.name + ending) for ending in _INDEX_ENDINGS]
    places += [path.with_suffix(ending) for ending in _INDEX_ENDINGS]
    return next((place for place in places if place.is_file()), None)


def _require_whole(path: Path) -> None:
    """Refuse what is neither BAM nor CRAM, or lacks the block that ends either."""
    head = read_head(path)
    if not head.startswith((b"BAM\1", b"CRAM")):
        found, remedy = foreign_content(head)
        raise InputFormatError(
            f"{path.name} is neither BAM nor CRAM: it is "
            f"{found or f'a file that begins with {head[:8]!r}'}.",
            remedy or "name the file's format in the sheet's column format",
        )
    try:
        pysam.quickcheck("-u", str(path.absolute()))  # -u: unaligned reads are named below
    except pysam.SamtoolsError:
        raise InputFormatError(
            f"{path.name} is cut off or damaged: it has no readable header, or no end-of-file "
            "block after its last byte.",
            "fetch or make it again; `samtools quickcheck -v FILE` names what is wrong",
        ) from None


def _require_index(file: pysam.AlignmentFile, path: Path) -> None:
    index = _index_path(path)
    if index is None:
        order = file.header.to_dict().get("HD", {}).get("SO", "unknown")
        sort = f"samtools sort -o SORTED{path.suffix} {path} && samtools index SORTED{path.suffix}"
        remedy = f"samtools index {path}"
        raise MissingInputError(
            f"{path.name} has no index: no .bai, .csi or .crai is in its folder (its header says "
            f"SO:{order}).",
            remedy if order == "coordinate" else f"{remedy}; if that finds it unsorted, {sort}",
        )
    if not file.has_index():
        raise InputFormatError(
            f"The index of {path.name}, {index}, cannot be read.", f"samtools index {path}"
        )
    if index.stat().st_mtime < path.stat().st_mtime:
        logger.warning(
            "%s is older than %s: if the reads changed since, its answers are wrong "
            "(samtools index %s)",
            *(index.name, path.name, path),
        )


@contextmanager
def open_alignments(path: Path, *, by_region: bool = True) -> Iterator[pysam.AlignmentFile]:
    """Open a BAM or CRAM file.

    While it is open, htslib prints nothing: its messages become errors. Reading by region needs
    an index.

    Raises
    ------
    MissingInputError
        If the file or its index is not there or cannot be opened.
    InputFormatError
        If it is neither BAM nor CRAM, is cut off or damaged, or names no chromosomes.
    """
    verbosity = pysam.set_verbosity(0)
    file = None
    try:
        _require_whole(path)
        try:
            file = pysam.AlignmentFile(
                str(path),
                check_sq=False,
                # Bytes: versions of pysam before its type hints take nothing else.
                format_options=[REQUIRED_FIELDS.encode()],  # type: ignore[list-item]
            )
            if not file.nreferences:
                raise InputFormatError(
                    f"{path.name} names no chromosomes: its header has no @SQ lines.",
                    "align the reads to a genome",
                )
            if by_region:
                _require_index(file, path)
            yield file
        except (OSError, ValueError, pysam.SamtoolsError) as error:
            raise InputFormatError(
                f"{path.name} cannot be read to its end: {' '.join(str(error).split())}.",
                "the data are damaged, or the index belongs to another file: samtools index FILE, "
                "or fetch the file again",
            ) from error
    finally:
        if file is not None:
            with suppress(OSError):  # that of a damaged file cannot be closed in order
                file.close()
        pysam.set_verbosity(verbosity)


# To jump to a place costs as much as to read on over so many reads: for BAM one unpacked block, for
# CRAM one slice. An index leads to no place finer than 16,384 bases anyway.
_BAM_JUMP, _CRAM_JUMP = 300, 10_000
_FINEST_JUMP = 1 << 14
# Reads are counted when there are so many, so that memory does not grow with the file.
_READS_AT_ONCE = 1_000_000

_N_COUNTING_STEPS = 24
_NO_WINDOWS = ChromWindows(np.empty(0, np.intp), np.empty(0, np.int64))


class _FetchedReads:
    """Reads on their way from the file to the counts.

    n_taken : how many went all the way

    A loop in Python over pysam's records takes 1.0 us a read, and 0.5 us of it go to unpacking the
    file. To unpack it in bulk, follow the records' lengths and gather their fields with NumPy was
    tried: 0.8 us, not worth a second parser of the format.
    """

    def __init__(self, rule: ReadRule, name: str) -> None:
        self._rule = rule
        self._name = name
        self._starts = array("q")
        self._ends = array("q")
        self._flags = array("H")
        self.n_taken = 0

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, alignments: Iterator[pysam.AlignedSegment], first_start: int) -> None:
        """Take those that pass the rule's filters and begin at or after `first_start`."""
        excluded, lowest = self._rule.excluded_flags, self._rule.min_mapping_quality
        by_midpoint = self._rule.count == "midpoint"
        add_start, add_end, add_flag = self._starts.append, self._ends.append, self._flags.append
        for read in alignments:
            flag = read.flag
            start = read.reference_start
            if flag & excluded or start < first_start or read.mapping_quality < lowest:
                continue
            if by_midpoint:
                if not flag & PAIRED:
                    raise self._unpaired(read)
                length = read.template_length
                if not (flag & PROPER_PAIR and length > 0):
                    continue
                add_end(start + length)
            else:
                # A place without an alignment is one base, as htslib's own tools have it.
                add_end(read.reference_end or start + 1)
            add_start(start)
            add_flag(flag)

    def _unpaired(self, read: pysam.AlignedSegment) -> InputFormatError:
        return InputFormatError(
            f"{self._name} has reads that are not paired, such as {read.query_name or 'one'} at "
            f"{read.reference_name}:{read.reference_start + 1}: the midpoints of their fragments "
            "are not known.",
            "count by five-prime, with half of the fragments' length as shift, or by overlap",
        )

    def take(self) -> Reads:
        """Hand over the reads that came together; none is left here."""
        starts = np.array(self._starts, np.int64)
        if np.any(starts[1:] < starts[:-1]):
            raise InputFormatError(
                f"{self._name} is not sorted by position, although it has an index, which must "
                "belong to another file.",
                "samtools sort -o SORTED.bam FILE && samtools index SORTED.bam",
            )
        ends = np.array(self._ends, np.int64)
        backwards = (np.array(self._flags, np.uint16) & REVERSE) > 0
        self.n_taken += len(starts)
        for column in (self._starts, self._ends, self._flags):
            del column[:]
        return Reads(starts, ends, backwards)


def _regions(
    windows: Windows, on_chromosome: ChromWindows, rule: ReadRule, size: int, join_within: int
) -> list[list[int]]:
    """Parts of a chromosome that hold every read that can count, sorted and disjoint."""
    if rule.count == "midpoint":
        # A fragment's leftmost mate may lie any distance before its midpoint.
        return [[0, size]]
    # A shifted end counts up to `shift` bases from the read it belongs to.
    reach = abs(rule.shift)
    stretches = windows.stretches(on_chromosome, join_within=join_within + 2 * reach, size=size)
    regions: list[list[int]] = (stretches + np.array([-reach, reach])).clip(0, size).tolist()
    return regions


def _count_chromosome(
    file: pysam.AlignmentFile,
    name: str,
    windows: Windows,
    on_chromosome: ChromWindows,
    rule: ReadRule,
    reads: _FetchedReads,
    join_within: int,
) -> NDArray[np.int64]:
    """Count the reads in each bin of a chromosome: (window, bin)."""
    size = file.get_reference_length(name)
    edges = bin_edges(on_chromosome.starts, windows.n_bins, windows.bin_size)
    counts = np.zeros((len(edges), windows.n_bins), np.int64)
    fetched_to = 0
    for begin, end in _regions(windows, on_chromosome, rule, size, join_within):
        alignments = file.fetch(name, begin, end, multiple_iterators=False)
        for first in alignments:
            # What begins before the last region's end was fetched with it, or lies too far off.
            reads.add(chain([first], islice(alignments, _READS_AT_ONCE)), fetched_to)
            if len(reads) >= _READS_AT_ONCE:
                counts += count_reads(reads.take(), rule, edges, size=size)
        fetched_to = end
    return counts + count_reads(reads.take(), rule, edges, size=size)


def _chromosome_groups(file: pysam.AlignmentFile) -> list[tuple[list[str], float]]:
    """Group chromosomes with reads, each with its fraction of the work."""
    # The index of a BAM knows how many reads a chromosome has; that of a CRAM has 0 everywhere.
    work = {each.contig: each.mapped for each in file.get_index_statistics()}
    if not any(work.values()):
        work = dict(zip(file.references, file.lengths, strict=True))
    total = sum(work.values())
    groups: list[tuple[list[str], float]] = []
    names: list[str] = []
    share = 0.0
    for name, amount in work.items():
        if amount:
            names.append(name)
            share += amount / total
        if share >= 1 / _N_COUNTING_STEPS:
            groups.append((names, share))
            names, share = [], 0.0
    return [*groups, (names, share)] if names else groups


def _library_size(
    file: pysam.AlignmentFile, path: Path, rule: ReadRule, progress: Callable[[float], object]
) -> int:
    """Count the reads of the whole file that pass the rule's filters."""
    options = ["-c", "-F", str(rule.excluded_flags), "-q", str(rule.min_mapping_quality)]
    options += ["--input-fmt-option", REQUIRED_FIELDS]
    n_reads, done = 0, 0.0
    # samtools, inside this process, takes half the time of a loop; by groups of chromosomes, so
    # that the user sees progress and can interrupt it. Braces: names may hold colons.
    for names, share in _chromosome_groups(file):
        regions = [f"{{{name}}}" for name in names]
        n_reads += int(str(pysam.view(*options, str(path.absolute()), *regions)))
        done += share
        progress(done)
    return n_reads


def alignment_chromosomes(path: str | Path) -> dict[str, int]:
    """Return the lengths of chromosomes by the header; needs no index. See `open_alignments`."""
    with open_alignments(Path(path), by_region=False) as file:
        return dict(zip(file.references, file.lengths, strict=True))


def bin_alignments(
    path: str | Path,
    windows: Windows,
    rule: ReadRule,
    *,
    progress: Progress = None,
) -> BinnedTrack:
    """Count the reads of a BAM or CRAM file in each bin of each window.

    Only the parts of the file that hold windows are fetched; for midpoints, all of it. The library
    size is exact too: the reads of the whole file that pass the rule's filters are counted, since
    an index does not know of duplicates, of mapping quality or of secondary alignments.

    Parameters
    ----------
    path
        BAM or CRAM, sorted by position, with its index in the same folder. CRAM needs no reference
        genome: bases are never decoded.
    windows
        Under the file's own chromosome names.

    Returns
    -------
    Whole numbers, in units of reads (of fragments, for midpoints); `observed` is the fraction of
    a window that lies on its chromosome, 0 for chromosomes that the header lacks; `depth` is the
    library size.

    Raises
    ------
    InputFormatError, MissingInputError
        As by `open_alignments`, and if the file is unsorted or, for midpoints, has reads that are
        not paired.
    """
    path = Path(path)
    report = progress or (lambda share: None)
    values = np.zeros((len(windows), windows.n_bins))
    with open_alignments(path) as file:
        sizes = dict(zip(file.references, file.lengths, strict=True))
        wanted = dict(windows.by_chromosome())
        # How many midpoints there are is known only when all fragments have been looked at.
        look_everywhere = rule.count == "midpoint"
        n_reads, join_within, done = 0, 0, 0.0
        if not look_everywhere:
            n_reads = _library_size(file, path, rule, lambda share: report(0.5 * share))
            jump = _CRAM_JUMP if file.is_cram else _BAM_JUMP
            join_within = max(_FINEST_JUMP, jump * sum(sizes.values()) // max(1, n_reads))
            done = 0.5
        names = [name for name in sizes if look_everywhere or name in wanted]
        weight = (1 - done) / max(1, sum(sizes[name] for name in names))
        reads = _FetchedReads(rule, path.name)
        for name in names:
            there = wanted.get(name, _NO_WINDOWS)
            values[there.rows] = _count_chromosome(
                file, name, windows, there, rule, reads, join_within
            )
            done += weight * sizes[name]
            report(min(done, 1.0))
        depth = float(reads.n_taken if look_everywhere else n_reads)
    report(1.0)
    return BinnedTrack(values, windows.inside(sizes), depth, "reads")


def _recognizes_bam(head: bytes) -> int:
    return 2 * head.startswith(b"BAM\1")


def _recognizes_cram(head: bytes) -> int:
    return 2 * head.startswith(b"CRAM")


def _bin(
    path: str, windows: Windows, options: ReadingOptions, sizes: Sizes, progress: Progress
) -> BinnedTrack:
    return bin_alignments(path, windows, options.rule, progress=progress)


def _chromosomes(path: str, options: ReadingOptions) -> dict[str, int]:
    return alignment_chromosomes(path)


BAM = TrackReader(
    "bam",
    "BAM",
    (".bam",),
    _recognizes_bam,
    _bin,
    chromosomes=_chromosomes,
    counts_reads=True,
)
CRAM = replace(BAM, kind="cram", title="CRAM", suffixes=(".cram",), recognizes=_recognizes_cram)

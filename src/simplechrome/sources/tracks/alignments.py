"""BAM and CRAM to reads per bin."""

from __future__ import annotations

import logging
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.tracks.counting import Reads, bin_edges, count_reads
from simplechrome.sources.tracks.read_rule import PAIRED, PROPER_PAIR, REVERSE, ReadRule
from simplechrome.sources.tracks.windows import BinnedTrack, ChromWindows, Windows

logger = logging.getLogger(__name__)

# FLAG, RNAME, POS, MAPQ, CIGAR and TLEN: neither bases nor qualities are ever decoded, so that a
# CRAM needs no reference genome and nobody looks for one in the network.
REQUIRED_FIELDS = "required_fields=0x13e"

_INDEX_ENDINGS = {"bam": (".csi", ".bai"), "cram": (".crai",)}

# All of these end with an empty block, by which a reader knows that nothing is missing.
_LAST_BLOCKS = {
    "BAM": bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"),
    "CRAM 2.1": bytes.fromhex("0b000000ffffffff0fe0454f460000000001000001000606010001000100"),
    "CRAM 3": bytes.fromhex(
        "0f000000ffffffff0fe0454f4600000000010005bdd94f0001000606010001000100ee63014b"
    ),
}
_HEAD, _TAIL = 1 << 16, 64


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        raise MissingInputError(
            f"{path} is a folder.", expected="a file", remedy="name the file inside it"
        )
    if not path.exists():
        raise MissingInputError(
            f"{path} does not exist.",
            remedy=f"check the spelling; paths are relative to {Path.cwd()}",
        )


def _ends(path: Path) -> tuple[bytes, bytes]:
    """What are the first and the last bytes of a file?"""
    try:
        with path.open("rb") as raw:
            head = raw.read(_HEAD)
            raw.seek(max(0, path.stat().st_size - _TAIL))
            return head, raw.read()
    except OSError as error:
        raise MissingInputError(f"{path} cannot be opened.", found=str(error)) from error


def _format(head: bytes) -> str:
    """Which of the formats of alignments begins so? "" for another one."""
    if head.startswith(b"CRAM"):
        # Earlier versions have no last block.
        return "CRAM 1" if head[4:6] < b"\2\1" else "CRAM 2.1" if head[4] == 2 else "CRAM 3"
    if head.startswith(b"\x1f\x8b"):
        with suppress(zlib.error):
            head = zlib.decompressobj(31).decompress(head, _TAIL)
    return "BAM" if head.startswith(b"BAM\1") else "SAM" if head.startswith(b"@") else ""


def _refuse_foreign_or_truncated(path: Path) -> None:
    head, tail = _ends(path)
    if not head:
        raise InputFormatError(
            f"{path.name} is empty.",
            expected="a BAM or CRAM file",
            cause="the program that wrote it failed, or a download was interrupted",
            remedy="make or fetch it again",
        )
    kind = _format(head)
    if kind in ("", "SAM"):
        raise InputFormatError(
            f"{path.name} is neither BAM nor CRAM.",
            found="SAM, which is text" if kind else f"a file that begins with {head[:8]!r}",
            expected="BAM or CRAM, sorted by position, with an index",
            remedy=f"samtools sort -o SORTED.bam {path} && samtools index SORTED.bam"
            if kind
            else "check the column `format` of the sample sheet",
        )
    if not tail.endswith(_LAST_BLOCKS.get(kind, b"")):
        raise InputFormatError(
            f"{path.name} is cut off.",
            found=f"no end-of-file block of {kind} after its last byte",
            cause="an interrupted download or copy, or a program that was killed",
            remedy="fetch or make it again; `samtools quickcheck FILE` says when it is whole",
        )


def _index_path(path: Path) -> Path | None:
    endings = [ending for kind in _INDEX_ENDINGS.values() for ending in kind]
    places = [path.with_name(path.name + ending) for ending in endings]
    places += [path.with_suffix(ending) for ending in endings]
    return next((place for place in places if place.is_file()), None)


def has_index(path: str | Path) -> bool:
    """Does an index lie beside this BAM or CRAM file?

    `.bai`, `.csi` or `.crai`, after the file's whole name or in place of its ending.
    """
    return _index_path(Path(path)) is not None


def _refuse_missing_index(path: Path, sort_order: str) -> None:
    if has_index(path):
        return
    sort = f"samtools sort -o SORTED{path.suffix} {path} && samtools index SORTED{path.suffix}"
    index = f"samtools index {path}"
    raise MissingInputError(
        f"{path.name} has no index.",
        found=f"no .bai, .csi or .crai beside it; its header says SO:{sort_order}",
        expected=f"{path.name}.crai" if path.suffix == ".cram" else f"{path.name}.bai",
        remedy=index
        if sort_order == "coordinate"
        else f"{index}; if that finds it unsorted, {sort}",
    )


def _warn_of_old_index(path: Path) -> None:
    index = _index_path(path)
    if index is not None and index.stat().st_mtime < path.stat().st_mtime:
        logger.warning(
            "%s is older than %s: if the reads changed since, its answers are wrong "
            "(samtools index %s)",
            index.name,
            path.name,
            path,
        )


def damaged(name: str, error: Exception) -> InputFormatError:
    """What is to be said of a file that breaks off while it is read?"""
    return InputFormatError(
        f"{name} cannot be read to its end.",
        found=" ".join(str(error).split()),
        cause="damaged data, or an index that belongs to another file",
        remedy="samtools quickcheck FILE; samtools index FILE; else fetch or make it again",
    )


@contextmanager
def open_alignments(path: Path, *, by_region: bool = True) -> Iterator[pysam.AlignmentFile]:
    """Which alignments does this file hold?

    While it is open, htslib prints nothing: what it would say becomes an error here.

    Parameters
    ----------
    by_region
        An index is needed.

    Raises
    ------
    MissingInputError
        If the file or its index is not there or can't be opened.
    InputFormatError
        If it is no BAM or CRAM, is cut off or damaged, or names no chromosomes.
    """
    _refuse_what_is_no_file(path)
    verbosity = pysam.set_verbosity(0)
    file = None
    try:
        _refuse_foreign_or_truncated(path)
        try:
            file = pysam.AlignmentFile(
                str(path),
                check_sq=False,
                # Bytes: versions of pysam before its type hints take nothing else.
                format_options=[REQUIRED_FIELDS.encode()],  # type: ignore[list-item]
            )
        except (OSError, ValueError) as error:
            raise damaged(path.name, error) from error
        if not file.nreferences:
            raise InputFormatError(
                f"{path.name} names no chromosomes.",
                found="a header without @SQ lines",
                cause="reads that were never aligned",
                remedy="align them to a genome",
            )
        if by_region:
            _refuse_missing_index(path, file.header.to_dict().get("HD", {}).get("SO", "unknown"))
            if not file.has_index():
                raise InputFormatError(
                    f"The index of {path.name} cannot be read.",
                    found=str(_index_path(path)),
                    cause="a damaged file, or one of another kind",
                    remedy=f"samtools index {path}",
                )
            _warn_of_old_index(path)
        try:
            yield file
        except (OSError, pysam.SamtoolsError) as error:
            raise damaged(path.name, error) from error
    finally:
        if file is not None:
            with suppress(OSError):  # that of a damaged file can't be closed in order
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
        if self._rule.count == "midpoint":
            self._add_fragments(alignments, first_start)
        else:
            self._add_reads(alignments, first_start)

    def _add_reads(self, alignments: Iterator[pysam.AlignedSegment], first_start: int) -> None:
        excluded, lowest = self._rule.excluded_flags, self._rule.min_mapping_quality
        add_start, add_end, add_flag = self._starts.append, self._ends.append, self._flags.append
        for read in alignments:
            flag = read.flag
            start = read.reference_start
            if flag & excluded or start < first_start or read.mapping_quality < lowest:
                continue
            add_start(start)
            # A place without an alignment is one base, as htslib's own tools have it.
            add_end(read.reference_end or start + 1)
            add_flag(flag)

    def _add_fragments(self, alignments: Iterator[pysam.AlignedSegment], first_start: int) -> None:
        excluded, lowest = self._rule.excluded_flags, self._rule.min_mapping_quality
        for read in alignments:
            flag = read.flag
            start = read.reference_start
            if flag & excluded or start < first_start or read.mapping_quality < lowest:
                continue
            if not flag & PAIRED:
                raise InputFormatError(
                    f"{self._name} has reads that are not paired: where their fragments end, and "
                    "so their midpoints, is not known.",
                    found=f"{read.query_name or 'a read'} at {read.reference_name}:{start + 1}",
                    expected="reads of pairs",
                    remedy="count by five-prime, with half of the fragments' length as shift, or "
                    "by overlap",
                )
            length = read.template_length
            if flag & PROPER_PAIR and length > 0:
                self._starts.append(start)
                self._ends.append(start + length)
                self._flags.append(flag)

    def take(self) -> Reads:
        """Which reads have come together? They are handed over: none is left here."""
        starts = np.array(self._starts, np.int64)
        if np.any(starts[1:] < starts[:-1]):
            raise InputFormatError(
                f"{self._name} is not sorted by position, although an index lies beside it.",
                cause="the index was made from another file",
                remedy="samtools sort -o SORTED.bam FILE && samtools index SORTED.bam",
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
    """Which parts of a chromosome hold every read that can count? Sorted and disjoint."""
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
    """How many reads are in each bin of a chromosome? (window, bin)"""
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
    """Chromosomes with reads in groups of like work, each with its share of the work."""
    # The index of a BAM knows how many reads a chromosome has; that of a CRAM says 0 everywhere.
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
    """How many reads of the whole file pass the rule's filters?"""
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
    """Which chromosomes does a BAM or CRAM file know, and how long are they?

    Name and length, in the order of the header; no index is needed.

    Raises
    ------
    MissingInputError
        If the file is not there or can't be opened.
    InputFormatError
        If it is no BAM or CRAM, is cut off, or names no chromosomes.
    """
    with open_alignments(Path(path), by_region=False) as file:
        return dict(zip(file.references, file.lengths, strict=True))


def bin_alignments(
    path: str | Path,
    windows: Windows,
    rule: ReadRule,
    *,
    progress: Callable[[float], object] | None = None,
) -> BinnedTrack:
    """How many reads of a BAM or CRAM file are in each bin of each window?

    Only the parts of the file that hold windows are fetched; for midpoints, all of it. The library
    size is exact too: the reads of the whole file that pass the rule's filters are counted, since
    an index knows nothing of duplicates, of mapping quality or of secondary alignments.

    Parameters
    ----------
    path
        BAM or CRAM, sorted by position, with its index beside it. CRAM needs no reference genome:
        bases are never decoded.
    windows
        Under the file's own chromosome names.
    rule
        Which reads count, and where.
    progress
        Called with the share of the work done, 0 to 1.

    Returns
    -------
    Whole numbers, in units of reads (of fragments, for midpoints); `observed` is the share of a
    window that lies on its chromosome, 0 for chromosomes that the header does not name; `depth`
    is the library size.

    Raises
    ------
    MissingInputError
        If the file or its index is not there or can't be opened.
    InputFormatError
        If it is no BAM or CRAM, is cut off, damaged or unsorted, or, for midpoints, has reads
        that are not paired.
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

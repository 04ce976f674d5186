"""Formats of tracks: which one a file is in, and its values in the bins of each window.

A format is one `TrackReader`. Those of the package are named in `TRACK_READERS`; other packages
add theirs by the entry point group `simplechrome.track_readers` or `register_track_reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.genome.chromosomes import (
    MatchMode,
    detect_style,
    match_names,
    translate_to_ucsc,
)
from simplechrome.sources.provenance import is_url
from simplechrome.sources.remote import PROTOCOLS
from simplechrome.sources.text import foreign_content, open_text, read_head
from simplechrome.sources.tracks.reads import ReadRule
from simplechrome.sources.tracks.windows import BinnedTrack, Gaps, Progress, Sizes, Windows
from simplechrome.work.registry import Registry

_PEEKED_LINES = 10_000
_TO_ENSEMBL = {"chrM": "MT"}
_COMPRESSED = (".gz", ".bgz", ".bz2", ".xz")


@dataclass(frozen=True)
class ReadingOptions:
    """How tracks are read.

    rule : which reads count, and where
    gaps : what bases without data mean; see `settle_gaps`
    approximate : use a bigWig's zoom levels
    timeout : seconds that a server may be silent
    """

    rule: ReadRule = field(default_factory=ReadRule)
    gaps: Gaps = "auto"
    approximate: bool = False
    timeout: float = 30.0


class Bin(Protocol):
    """A function that returns the values of a track in each bin, left to right on the genome.

    path : a file, or an address where the reader takes one
    windows : under the track's own chromosome names
    """

    def __call__(  # noqa: D102 (see the class)
        self,
        path: str,
        windows: Windows,
        options: ReadingOptions,
        sizes: Sizes,
        progress: Progress,
    ) -> BinnedTrack: ...


@dataclass(frozen=True)
class TrackReader:
    """A format of tracks.

    Its functions are defined in a module, so that worker processes find them by name.

    Parameters
    ----------
    kind, title
        Its name in the sheet's column `format`, and in messages.
    suffixes
        Of file names, in lower case.
    recognizes
        How surely a file is in this format, by its first 64 KiB, unpacked: 2 if certain, 1 if
        perhaps, 0 if not. The name decides among text formats that are not certain.
    bin
        See `Bin`.
    chromosomes
        (path, options) → lengths of the track's chromosomes; None for text, whose chromosomes
        (the first field of each line) are known only when it is read.
    check
        (path, options); raises if the options ask for what the format does not hold.
    counts_reads
        Whether values are numbers of reads. Reads and signal do not go into one dataset.
    remote
        Whether it reads addresses (http, https).
    may_abort
        Whether damage to a file may end the process: it is then read in a process of its own.
    """

    kind: str
    title: str
    suffixes: tuple[str, ...]
    recognizes: Callable[[bytes], int]
    bin: Bin
    chromosomes: Callable[[str, ReadingOptions], dict[str, int]] | None = None
    check: Callable[[str, ReadingOptions], None] | None = None
    counts_reads: bool = False
    remote: bool = False
    may_abort: bool = False


TRACK_READERS: Registry[TrackReader] = Registry(
    "track format",
    {
        "bigwig": "simplechrome.sources.tracks.bigwig:READER",
        "bam": "simplechrome.sources.tracks.alignments:BAM",
        "cram": "simplechrome.sources.tracks.alignments:CRAM",
        "bedgraph": "simplechrome.sources.tracks.intervals:BEDGRAPH",
        "reads": "simplechrome.sources.tracks.intervals:READS",
    },
    "simplechrome.track_readers",
)


def register_track_reader(reader: TrackReader) -> TrackReader:
    """Add a format under its kind, of which there must be no other yet, and return it."""
    return TRACK_READERS.register(reader.kind, reader)


def _readers() -> list[TrackReader]:
    return [TRACK_READERS.get(name) for name in TRACK_READERS.names()]


def kind_of(path: str) -> str:
    """Return the kind of a track: by its content, and by its name where that is not enough.

    Raises
    ------
    MissingInputError
        If the file cannot be opened, or is at an address that no reader takes.
    InputFormatError
        If it is of no known kind.
    """
    if is_url(path):
        return _kind_of_address(path)
    head = read_head(Path(path))
    sure = {reader.kind: reader.recognizes(head) for reader in _readers()}
    best = max(sure, key=lambda kind: sure[kind])
    if sure[best] > 1:
        return best
    found, remedy = foreign_content(head)
    titles = ", ".join(reader.title for reader in _readers())
    if found:
        raise InputFormatError(f"{path} is {found}, not a track ({titles}).", remedy)
    named = _named(path)
    if named and named.chromosomes is None:
        return named.kind  # whose reader names a line that is wrong
    if sure[best]:
        return best
    lines = [line for line in head.decode(errors="replace").splitlines() if _is_data(line)]
    if not lines:
        raise InputFormatError(f"{path} holds no data.", f"name a track ({titles})")
    fastq = " (FASTQ: reads that were never aligned)" if lines[0].startswith("@") else ""
    raise InputFormatError(
        f"{path} is of no known kind: it begins with {lines[0][:60]!r}{fastq}.",
        f"name a track ({titles})",
    )


def _named(name: str) -> TrackReader | None:
    """The format that a file's name stands for, packed or not."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    matches = [reader for reader in _readers() if suffixes and suffixes[-1] in reader.suffixes]
    return matches[0] if matches else None


def _kind_of_address(path: str) -> str:
    try:
        address = urlsplit(path)
    except ValueError as error:
        raise MissingInputError(f"{path} is not a valid address: {error}.") from None
    remote = [reader for reader in _readers() if reader.remote]
    reader = _named(address.path) or remote[0]
    if address.scheme not in PROTOCOLS or not reader.remote:
        titles = " or ".join(reader.title for reader in remote)
        raise MissingInputError(
            f"{path} cannot be read from its address: only a {titles} can, by "
            f"{', '.join(PROTOCOLS[:-1])}.",
            "download it first",
        )
    return reader.kind


def _is_data(line: str) -> bool:
    """Return whether a line of text holds data, and not a comment or an instruction."""
    return bool(line.strip()) and not line.startswith(("#", "track", "browser"))


def columns_of(head: bytes) -> list[str]:
    """Return the columns of the first data line of a text if it is an interval, or none."""
    text = head.decode(errors="replace")
    line = next((line for line in text.splitlines() if _is_data(line)), "")
    columns = line.split("\t") if "\t" in line else line.split()
    is_interval = len(columns) >= 3 and columns[1].isdigit() and columns[2].strip().isdigit()
    return columns if is_interval else []


def bin_track(
    path: str,
    kind: str,
    windows: Windows,
    options: ReadingOptions,
    *,
    sizes: Sizes = None,
    progress: Progress = None,
) -> BinnedTrack:
    """Return what a track of this kind holds in each window, left to right; see `Bin`.

    Raises
    ------
    InputFormatError, MissingInputError
        If the file is not of this kind, is damaged, or lacks its index.
    """
    return TRACK_READERS.get(kind).bin(path, windows, options, sizes, progress)


def track_chromosomes(path: str, kind: str, options: ReadingOptions) -> dict[str, int] | None:
    """Return the lengths of a track's chromosomes; None for text. Raises as `bin_track` does."""
    chromosomes = TRACK_READERS.get(kind).chromosomes
    return None if chromosomes is None else chromosomes(path, options)


def names_in_text(
    path: str,
    wanted: Sequence[str],
    *,
    mode: MatchMode = "auto",
    aliases: Mapping[str, str] | None = None,
    wanted_in: str,
) -> dict[str, str]:
    """Return the names that a text file has for these chromosomes.

    A file whose first lines are clearly in UCSC's or Ensembl's style is not read for it. Of any
    other, and wherever there are aliases, all names are looked at and matched one by one.

    Parameters and errors are those of `match_names`.

    Returns
    -------
    For wanted names, the name in the file; names beyond the first lines may not occur.
    """
    if mode == "exact" and not aliases:
        return {name: name for name in wanted}
    seen = _first_fields(path, _PEEKED_LINES)
    style = detect_style(seen)
    if aliases or style not in ("UCSC", "Ensembl"):
        return match_names(
            wanted,
            _first_fields(path, None),
            mode=mode,
            aliases=aliases,
            wanted_in=wanted_in,
            available_in=Path(path).name,
        )
    ucsc = translate_to_ucsc(wanted)
    if style == "UCSC":
        return {name: name if name in seen else ucsc[name] for name in ucsc}
    return {
        name: name if name in seen else _TO_ENSEMBL.get(common, common.removeprefix("chr"))
        for name, common in ucsc.items()
    }


def _first_fields(path: str, n_lines: int | None) -> set[str]:
    """Names of chromosomes in the first lines, or in all."""
    with open_text(Path(path)) as lines:
        return {line.split(None, 1)[0] for line in islice(lines, n_lines) if _is_data(line)}

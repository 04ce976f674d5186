"""Any track file to values per bin: one door to the readers of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from simplechrome.sources.genome.chromosomes import (
    MatchMode,
    detect_style,
    match_names,
    translate_to_ucsc,
)
from simplechrome.sources.text.open import open_text
from simplechrome.sources.tracks.kinds import Kind
from simplechrome.sources.tracks.read_rule import ReadRule
from simplechrome.sources.tracks.windows import BinnedTrack, Gaps, Windows

_PEEKED_LINES = 10_000
_TO_ENSEMBL = {"chrM": "MT"}


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


def bin_track(
    path: str,
    kind: Kind,
    windows: Windows,
    options: ReadingOptions,
    *,
    sizes: Mapping[str, int] | None = None,
    progress: Callable[[float], object] | None = None,
) -> BinnedTrack:
    """What does a track hold in each window, left to right on the genome?

    Parameters
    ----------
    path
        A file, or the URL of a bigWig.
    windows
        Under the track's own chromosome names.
    sizes
        Lengths of chromosomes, for files that do not say them.

    Raises
    ------
    InputFormatError, MissingInputError
        If the file is not what `kind` says, is damaged, or lacks its index.
    """
    # Each reader brings a library of its own, and most sheets need one of them.
    if kind == "bigwig":
        from simplechrome.sources.tracks.bigwig import bin_bigwig

        return bin_bigwig(
            path,
            windows,
            gaps=options.gaps,
            approximate=options.approximate,
            timeout=options.timeout,
            progress=progress,
        )
    if kind in ("bam", "cram"):
        from simplechrome.sources.tracks.alignments import bin_alignments

        return bin_alignments(path, windows, options.rule, progress=progress)
    if kind == "bedgraph":
        from simplechrome.sources.tracks.bedgraph import bin_bedgraph

        return bin_bedgraph(path, windows, gaps=options.gaps, sizes=sizes, progress=progress)
    from simplechrome.sources.tracks.read_intervals import bin_read_intervals

    return bin_read_intervals(path, windows, options.rule, sizes=sizes, progress=progress)


def track_chromosomes(path: str, kind: Kind, options: ReadingOptions) -> dict[str, int] | None:
    """Which chromosomes does a track know, and how long are they?

    None for text, which says so only in the course of its lines.

    Raises
    ------
    InputFormatError, MissingInputError
        If the file is not what `kind` says, is damaged, or lacks its index.
    """
    if kind == "bigwig":
        from simplechrome.sources.tracks.bigwig import bigwig_chromosomes

        return bigwig_chromosomes(path, timeout=options.timeout)
    if kind in ("bam", "cram"):
        from simplechrome.sources.tracks.alignments import alignment_chromosomes

        return alignment_chromosomes(path)
    return None


def names_in_text(
    path: str,
    wanted: Sequence[str],
    *,
    mode: MatchMode = "auto",
    aliases: Mapping[str, str] | None = None,
    wanted_in: str,
) -> dict[str, str]:
    """Under which names does a text file know these chromosomes?

    A file whose first lines are clearly in UCSC's or Ensembl's style is not read for it. Of any
    other, and wherever there are aliases, all names are looked at and matched one by one.

    Parameters
    ----------
    wanted
        Chromosome names in UCSC or Ensembl style.
    mode, aliases, wanted_in
        See `match_names`.

    Returns
    -------
    For wanted names, the name in the file; whether one that was not looked at occurs, only
    reading shows.

    Raises
    ------
    GenomeMismatchError
        If all names were looked at, and none is wanted.
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
        return {
            line.split(None, 1)[0]
            for line in islice(lines, n_lines)
            if not line.isspace() and not line.startswith(("#", "track", "browser"))
        }

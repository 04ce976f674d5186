"""Any track file to values per bin: one door to the readers of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from simplechrome.sources.chromosomes import detect_style, translate_to_ucsc
from simplechrome.sources.text import open_text
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


def names_in_text(path: str, wanted: Iterable[str]) -> dict[str, str]:
    """Under which names may a text file know these chromosomes, by the style of its first lines?

    Parameters
    ----------
    wanted
        Chromosome names in UCSC or Ensembl style.

    Returns
    -------
    For each wanted name, the name in the file's style; whether it occurs, only reading shows.
    """
    with open_text(Path(path)) as lines:
        seen = {
            line.split(None, 1)[0]
            for line in islice(lines, _PEEKED_LINES)
            if not line.isspace() and not line.startswith(("#", "track", "browser"))
        }
    ucsc = translate_to_ucsc(wanted)
    if detect_style(seen) != "Ensembl":
        return {name: name if name in seen else ucsc[name] for name in ucsc}
    return {
        name: name if name in seen else _TO_ENSEMBL.get(common, common.removeprefix("chr"))
        for name, common in ucsc.items()
    }

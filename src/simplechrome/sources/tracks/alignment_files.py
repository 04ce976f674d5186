"""Is this a BAM or CRAM file that can be read by region, whole and with its index?"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pysam

from simplechrome.errors import InputFormatError, MissingInputError

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

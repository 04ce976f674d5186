"""Which CSVs of an archive are wanted, and are they whole on disk? Nothing else gets out of it.

A member is taken for its name, exactly `[PREFIX/]E003/classification/train.csv`, and written
under a name made here. What an honest archive would not hold ends the unpacking; what is merely
of no use is passed over.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tarfile
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from simplechrome.errors import InputFormatError, OutputError, UnknownGeneError
from simplechrome.sources.deepchrome_files import SPLITS
from simplechrome.sources.download_progress import Progress, size_text
from simplechrome.sources.tar_stream import Member, open_tar, refused

logger = logging.getLogger(__name__)

CELL_TYPE_NAME = re.compile(r"E[0-9]{3}")
RESERVE = 50_000_000
"""Bytes that are left free on the disk."""

_PREFIX = r"(?:\./)?(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*?"
_FOLDER = re.compile(rf"{_PREFIX}(E[0-9]{{3}})(?:/classification)?")
_CSV = re.compile(rf"{_PREFIX}(E[0-9]{{3}})/classification/({'|'.join(SPLITS)})\.csv")


class UnpackedFile(NamedTuple):
    """One CSV on disk, with the size in bytes and the SHA-256 of what was written."""

    path: Path
    size: int
    sha256: str


class Unpacked(NamedTuple):
    """What came out of an archive.

    files : cell type → split → file, for each cell type that was wanted and is complete
    in_archive : all complete cell types of the archive, wanted or not, sorted
    incomplete : cell type → the splits that the archive lacks
    """

    files: dict[str, dict[str, UnpackedFile]]
    in_archive: list[str]
    incomplete: dict[str, list[str]]


def unpack(archive: Path, folder: Path, wanted: Collection[str] | None = None) -> Unpacked:
    """Are the wanted cell types' CSVs now whole in `folder`, as E003/train.csv and so on?

    The archive is read once, front to back, to its end. On any error what was written so far
    stays in `folder`, which the caller throws away.

    Parameters
    ----------
    archive
        A .tar.gz or .tar.
    folder
        An empty folder.
    wanted
        Names of cell types; None for all.

    Raises
    ------
    InputFormatError
        If the archive is damaged; holds a link, device, pipe, sparse or unknown kind of member,
        or one whose name leaves the folder or deceives the eye; holds a CSV twice; unpacks to
        more than its size explains; holds no cell type, or a wanted one without all its CSVs.
    UnknownGeneError
        If a wanted cell type is not in it.
    MissingInputError
        If the archive cannot be read.
    OutputError
        If there is no room.
    """
    found: dict[str, dict[str, UnpackedFile | None]] = {}
    passed_over: list[str] = []
    with (
        open_tar(archive) as (members, file, largest),
        Progress(f"unpacking {archive.name}", file.size()) as progress,
    ):
        at = 0
        for member in members:
            progress.add(file.tell() - at)
            at = file.tell()
            place = _place(member.info, archive, largest)
            if place is None:
                if not member.info.isdir():
                    passed_over.append(member.info.name)
                continue
            cell_type, split = place
            if split in found.setdefault(cell_type, {}):
                raise refused(archive, _quoted(member.info.name), "there twice")
            found[cell_type][split] = None
            if wanted is None or cell_type in wanted:
                target = folder / cell_type / f"{split}.csv"
                found[cell_type][split] = _write(member, target)
    if passed_over:
        listed = ", ".join(map(_quoted, passed_over[:3]))
        logger.info(
            "%s: %d other files were passed over: %s%s",
            archive.name,
            len(passed_over),
            listed,
            ", …" if len(passed_over) > 3 else "",
        )
    return _sorted_out(archive, found, wanted)


def _sorted_out(
    archive: Path,
    found: dict[str, dict[str, UnpackedFile | None]],
    wanted: Collection[str] | None,
) -> Unpacked:
    if not found:
        raise InputFormatError(
            f"{archive.name} holds no cell type in the DeepChrome layout.",
            expected="E003/classification/{train,valid,test}.csv, and so on",
            cause="it is another archive",
        )
    names = sorted(found)
    absent = sorted(set(wanted or ()) - set(names))
    if absent:
        raise UnknownGeneError(
            f"{archive.name} does not hold the cell type {', '.join(absent)}.",
            found=", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else ""),
            expected=", ".join(absent),
        )
    lacking = {
        name: [split for split in SPLITS if split not in files] for name, files in found.items()
    }
    incomplete = {name: splits for name, splits in sorted(lacking.items()) if splits}
    asked = [name for name in names if wanted is None or name in wanted]
    broken = [name for name in asked if name in incomplete]
    if broken:
        listed = "; ".join(
            f"{name} lacks {', '.join(f'{split}.csv' for split in incomplete[name])}"
            for name in broken[:5]
        )
        if wanted is not None or len(broken) == len(asked):
            raise InputFormatError(
                f"{archive.name} does not hold all files of {', '.join(broken[:5])}.",
                found=listed,
                expected="train.csv, valid.csv and test.csv",
                cause="the archive itself is incomplete",
                remedy="leave this cell type out, or fetch the archive from its publisher",
            )
        logger.warning(
            "%d of %d cell types are incomplete in %s itself and left out: %s",
            len(broken),
            len(asked),
            archive.name,
            listed,
        )
    files: dict[str, dict[str, UnpackedFile]] = {
        name: {split: file for split in SPLITS if (file := found[name][split]) is not None}
        for name in asked
        if name not in incomplete
    }
    empty = [f"{name}/{s}.csv" for name, f in files.items() for s in f if f[s].size == 0]
    if empty:
        logger.warning(
            "%d of the archive's files are empty: %s. Leave such cell types out: build deepchrome "
            "--on-bad-cell-type skip",
            len(empty),
            ", ".join(empty[:5]),
        )
    return Unpacked(files, [name for name in names if name not in incomplete], incomplete)


def _write(member: Member, target: Path) -> UnpackedFile:
    size = member.info.size
    digest = hashlib.sha256()
    try:
        target.parent.mkdir(exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size + RESERVE:
            raise OutputError(
                f"The disk is too full to unpack {member.info.name}.",
                found=f"{size_text(free)} free in {target.parent}",
                expected=f"{size_text(size)} for this file, and {size_text(RESERVE)} to spare",
                remedy="free space and call again, or ask for fewer cell types (--cell-type)",
            )
        file = target.open("xb", buffering=0)
    except OSError as error:
        raise _cannot_write(target, error) from error
    with file:
        for block in member.blocks():
            digest.update(block)
            try:
                file.write(block)
            except OSError as error:
                raise _cannot_write(target, error) from error
    return UnpackedFile(target, size, digest.hexdigest())


def _cannot_write(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{target} cannot be written.",
        found=error.strerror or str(error),
        expected="a place with room and the right to write",
        remedy="free space and call again, or choose another folder: --to DIR",
    )


def _place(info: tarfile.TarInfo, archive: Path, largest: int) -> tuple[str, str] | None:
    """Which cell type and split is this member? None if it is of no use; an error if it is one
    that no honest archive would hold."""
    reason = _bad_name(info.name) or _bad_kind(info)
    if reason is None and not 0 <= info.size <= largest:
        reason = f"{info.size:,} bytes by its own account, more than the archive can hold"
    match = _CSV.fullmatch(info.name)
    if reason is None and match and info.isdir():
        reason = "a folder where a file should be"
    if reason is None and not info.isdir() and _FOLDER.fullmatch(info.name):
        reason = "a file where a folder should be"
    if reason is not None:
        raise refused(archive, _quoted(info.name), reason)
    return (match[1], match[2]) if match else None


def _bad_name(name: str) -> str | None:
    if not name or len(name) > 1000:
        return "without a name" if not name else f"a name of {len(name):,} characters"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in name):
        return "a name with control characters"
    if "\\" in name:
        return "a name with a backslash, a path on Windows"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    if ".." in name.split("/"):
        return "a path that leaves its folder (..)"
    plain = unicodedata.normalize("NFKC", name)
    if plain != name and (_CSV.fullmatch(plain) or ".." in plain or "\\" in plain):
        return "a name that only looks like another"
    return None


def _bad_kind(info: tarfile.TarInfo) -> str | None:
    if info.issym():
        return f"a symbolic link to {_quoted(info.linkname)}"
    if info.islnk():
        return f"a hard link to {_quoted(info.linkname)}"
    if info.ischr() or info.isblk():
        return "a device"
    if info.isfifo():
        return "a named pipe"
    if info.issparse():
        return "a sparse file, which can claim any size"
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        return f"of an unknown kind ({_quoted(info.type.decode('latin-1'))})"
    return None


def _quoted(name: str) -> str:
    """The name in plain characters, so that it cannot deceive in a message either."""
    shown = ascii(name)
    return shown if len(shown) <= 120 else shown[:117] + "…'"

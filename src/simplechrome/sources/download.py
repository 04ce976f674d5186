"""Is the published data set here? If not, fetch it: whole, verified, and only what is wanted.

Below a folder lie, afterwards:

`data/E003/classification/{train,valid,test}.csv`   what `simplechrome build deepchrome` reads
`manifest.json`                                     size and SHA-256 of each; written last
`data.tar.gz`, `data.tar.gz.json`                   the archive, and what was checked of it
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from simplechrome.errors import ConfigError, OutputError, SimpleChromeError
from simplechrome.sources.deepchrome_files import SPLITS
from simplechrome.sources.download_archive import Archive, find_archive
from simplechrome.sources.download_http import Patience
from simplechrome.sources.download_manifest import (
    FileState,
    Manifest,
    archive_entry,
    content_sha256,
    csv_name,
    read_manifest,
    write_manifest,
)
from simplechrome.sources.download_record import normal_checksum
from simplechrome.sources.unpack import CELL_TYPE_NAME, Unpacked, UnpackedFile, unpack
from simplechrome.work.files import only_one

logger = logging.getLogger(__name__)

LOCK_NAME = ".download.lock"
_STAGING = ".unpacking-"


class Download(NamedTuple):
    """What is in a folder after `download`.

    path : the folder, for `simplechrome build deepchrome`
    cell_types : the wanted ones, all verified; sorted
    unpacked : those of them that this call unpacked
    """

    path: Path
    cell_types: list[str]
    unpacked: list[str]


def check_if_dataset_exists(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    source: str | Path | None = None,
) -> Path:
    """Is the published data set below `path`? What is absent is downloaded.

    Parameters
    ----------
    path, cell_types, source
        See `download`.

    Returns
    -------
    `path`, as a Path, for `simplechrome build deepchrome` or `read_deepchrome`.

    Raises
    ------
    SimpleChromeError
        As `download` does.

    References
    ----------
    Cheng, Murtaza & Wang, arXiv 2012.08671; data: doi 10.5281/zenodo.2652278.
    """
    return download(path, cell_types=cell_types, source=source).path


def download(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    source: str | Path | None = None,
    checksum: str | None = None,
    verify: bool = False,
    patience: Patience | None = None,
) -> Download:
    """Which cell types of the published data set are below `path`, whole and verified?

    What is absent is fetched and unpacked; what is there and verified is left alone, wherever it
    came from. A call that was interrupted, however, is taken up where it ended; two calls at once
    wait for each other.

    Parameters
    ----------
    path
        A folder; made if need be.
    cell_types
        Names such as E003; all of the archive by default. Only these are unpacked.
    source
        Address of a mirror of the archive, or a local .tar.gz or .tar. By default the record
        that Zenodo keeps.
    checksum
        What the archive must have, `md5:HEX` or `sha256:HEX`. By default the record's; for a
        mirror that cannot reach the record, and for a local file, that of a file SOURCE.sha256 or
        SOURCE.md5 beside it. With none of them a warning says that nobody vouches for it.
    verify
        Read what is there and compare its checksums; sizes and times of change otherwise.
    patience
        Time-outs and retries.

    Returns
    -------
    Download

    Raises
    ------
    MissingInputError
        If the server cannot be reached, the local file is not there, or the transfer fails too
        often. The message says how to fetch the archive by hand.
    InputFormatError
        If what came is not the archive that was promised, is damaged or hostile.
    UnknownGeneError
        If the archive does not hold a cell type that is wanted.
    OutputError
        If there is no room or no right to write.
    ConfigError
        If an argument makes no sense.
    """
    folder = Path(path)
    wanted = _checked_names(cell_types)
    expected = _checked_checksum(checksum)
    manifest = read_manifest(folder)
    if manifest and not verify and not manifest.broken(folder, wanted, thorough=False):
        return Download(folder, manifest.asked(wanted), [])
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file.", expected="a folder", remedy="choose another")
    try:
        with only_one(folder / LOCK_NAME):
            return _complete(folder, wanted, source, expected, verify, patience or Patience())
    except OutputError:
        # A folder that may only be read, as a shared one, can still be complete.
        if manifest and not manifest.broken(folder, wanted, thorough=True):
            return Download(folder, manifest.asked(wanted), [])
        raise


def _checked_names(cell_types: Sequence[str] | None) -> list[str] | None:
    if cell_types is None:
        return None
    names = [cell_types] if isinstance(cell_types, str) else list(dict.fromkeys(cell_types))
    odd = [name for name in names if not CELL_TYPE_NAME.fullmatch(str(name))]
    if odd or not names:
        raise ConfigError(
            "cell_types names what cannot be a cell type of the data set."
            if odd
            else "cell_types is empty.",
            found=", ".join(map(repr, odd[:5])),
            expected="names such as E003, or None for all",
        )
    return sorted(names)


def _checked_checksum(text: str | None) -> str | None:
    if text is None:
        return None
    normal = normal_checksum(text)
    if normal is None:
        raise ConfigError(
            "checksum is none that can be compared.",
            found=repr(text),
            expected="md5:, sha1:, sha256: or sha512:, and all its hexadecimal digits",
        )
    return normal


def _complete(
    folder: Path,
    wanted: list[str] | None,
    source: str | Path | None,
    checksum: str | None,
    verify: bool,
    patience: Patience,
) -> Download:
    """Do what is left to do, as the only process that works on the folder."""
    for rest in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(rest, ignore_errors=True)
    manifest = read_manifest(folder)
    absent = wanted
    if manifest is not None:
        touched = (
            manifest.asked(wanted) if verify else manifest.broken(folder, wanted, thorough=False)
        )
        absent = manifest.broken(folder, touched, thorough=True)
        same = [name for name in touched if name not in absent]
        if same:
            manifest = manifest.with_times(folder, same)
            write_manifest(folder, manifest)
            logger.info("%d cell types were read again: as they were", len(same))
        if not absent:
            return Download(folder, manifest.asked(wanted), [])
        _say_changed(manifest, absent)
    archive = find_archive(folder, source, checksum, absent, patience)
    unpacked = _unpack(folder, archive, absent)
    manifest = _merged(folder, manifest, archive, unpacked)
    write_manifest(folder, manifest)
    if not archive.is_users_own:
        logger.info("%s may be deleted: it is needed only to unpack more cell types.", archive.path)
    return Download(folder, manifest.asked(wanted), sorted(unpacked.files))


def _say_changed(manifest: Manifest, absent: Iterable[str]) -> None:
    changed = [name for name in absent if csv_name(name, SPLITS[0]) in manifest.files]
    if changed:
        logger.warning(
            "%d cell types are not as they were when they were verified, and are unpacked again: "
            "%s%s",
            len(changed),
            ", ".join(changed[:5]),
            ", …" if len(changed) > 5 else "",
        )


def _unpack(folder: Path, archive: Archive, wanted: Collection[str] | None) -> Unpacked:
    """Unpack beside the final places, then move each cell type there in one step."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        unpacked = unpack(archive.path, staging, wanted)
        for cell_type, files in unpacked.files.items():
            _move(folder, cell_type, files)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return unpacked


def _move(folder: Path, cell_type: str, files: dict[str, UnpackedFile]) -> None:
    target = (folder / csv_name(cell_type, SPLITS[0])).parent
    if target.exists() or target.is_symlink():
        if _holds(target, files):
            return
        aside = _free_name(folder / "set-aside", cell_type)
        aside.parent.mkdir(exist_ok=True)
        target.replace(aside)
        logger.warning(
            "%s was there, unverified, with other contents than the archive's: moved to %s",
            target,
            aside,
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    files[SPLITS[0]].path.parent.replace(target)


def _holds(target: Path, files: dict[str, UnpackedFile]) -> bool:
    for split, file in files.items():
        path = target / f"{split}.csv"
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        if content_sha256(path) != file.sha256:
            return False
    return True


def _free_name(folder: Path, cell_type: str) -> Path:
    number = 1
    while (path := folder / f"{cell_type}-{number}").exists():
        number += 1
    return path


def _merged(
    folder: Path, before: Manifest | None, archive: Archive, unpacked: Unpacked
) -> Manifest:
    files = dict(before.files) if before else {}
    for cell_type, of_type in unpacked.files.items():
        for split, file in of_type.items():
            name = csv_name(cell_type, split)
            mtime_ns = (folder / name).stat().st_mtime_ns
            files[name] = FileState(file.size, file.sha256, mtime_ns)
    entry = archive_entry(archive.path.name, archive.origin)
    return Manifest(entry, tuple(unpacked.in_archive), dict(sorted(files.items())))


def _cannot_write(folder: Path, error: OSError) -> SimpleChromeError:
    return OutputError(
        f"{folder} cannot be written.",
        found=f"{error.strerror or error}: {error.filename}",
        expected="a place with room and the right to write",
        remedy="free space, or choose another folder: --to DIR",
    )

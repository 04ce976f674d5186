"""Where is the archive, and who says that it is the right one? The record, a mirror, a file."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from simplechrome.errors import InputFormatError, MissingInputError, OutputError, SimpleChromeError
from simplechrome.sources.download_http import Patience, check_url
from simplechrome.sources.download_origin import (
    Origin,
    file_checksum,
    origin_path,
    read_origin,
    write_origin,
)
from simplechrome.sources.download_progress import size_text
from simplechrome.sources.download_record import (
    ARCHIVE_NAME,
    RemoteFile,
    checksum_beside,
    published_archive,
    read_checksum_file,
)
from simplechrome.sources.download_transfer import fetch
from simplechrome.sources.provenance import unreadable
from simplechrome.sources.unpack import RESERVE

logger = logging.getLogger(__name__)

N_PUBLISHED = 56
"""Cell types in the published archive."""

USUAL_EXPANSION = 5
"""Bytes of CSV for each byte of .tar.gz, measured on tables of read counts."""


class Archive(NamedTuple):
    """An archive on this disk whose checksum has been computed, and compared where one is known.

    is_users_own : True if it lay there already and is not ours to speak of
    """

    path: Path
    origin: Origin
    is_users_own: bool


def find_archive(
    folder: Path,
    source: str | Path | None,
    checksum: str | None,
    wanted: Collection[str] | None,
    patience: Patience,
) -> Archive:
    """Which verified archive can be unpacked? It is fetched to `folder` if need be.

    Raises
    ------
    MissingInputError, InputFormatError, OutputError, ConfigError
        See `simplechrome.sources.download.download`.
    """
    if source is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(source)):
        archive = _local(Path(source), checksum)
        _check_room(folder, 0, archive.path.stat().st_size, wanted)
        return archive
    target = folder / ARCHIVE_NAME
    address = None if source is None else check_url(str(source))
    kept = _kept(target, checksum)
    if kept is not None:
        if address is not None and kept.url != address:
            logger.info("%s is here already, from %s, and is used", target, kept.url)
        _check_room(folder, 0, target.stat().st_size, wanted)
        return Archive(target, kept, False)
    remote = _remote(address, checksum, patience)
    if target.exists():
        return Archive(target, _adopted(target, remote), False)
    logger.info(
        "%s%s to %s",
        remote.url,
        f", {size_text(remote.size)}" if remote.size else "",
        target,
    )
    whole = remote.size or 0
    origin = fetch(
        remote, target, patience, lambda left: _check_room(folder, left, max(whole, left), wanted)
    )
    return Archive(target, origin, False)


def _kept(target: Path, checksum: str | None) -> Origin | None:
    """What an earlier call verified, if the file has not been touched since."""
    origin = read_origin(origin_path(target))
    if origin is None or not target.is_file():
        return None
    now = target.stat()
    expected = checksum or origin.checksum
    if now.st_size != origin.size or expected is None:
        return None
    if now.st_mtime_ns != origin.mtime_ns or expected != origin.checksum:
        found = file_checksum(target, expected.partition(":")[0], f"checking {target.name}")
        if found != expected:
            raise _other_file(target, found, expected)
        origin = replace(origin, mtime_ns=now.st_mtime_ns)
        write_origin(origin_path(target), origin)
    return origin


def _remote(address: str | None, checksum: str | None, patience: Patience) -> RemoteFile:
    if address is None:
        remote = published_archive(patience)
        if checksum in (None, remote.checksum):
            return remote
        return remote._replace(checksum=checksum, vouched_by="option")
    if checksum is not None:
        return RemoteFile(address, None, checksum, "option")
    # The record is asked once: whoever names a mirror has a reason not to wait for it.
    hasty = replace(patience, timeout=min(patience.timeout, 10.0), first_attempts=1)
    try:
        record = published_archive(hasty)
        return RemoteFile(address, record.size, record.checksum, "record")
    except (MissingInputError, InputFormatError) as error:
        logger.info("The record gives no checksum for the mirror: %s", error.found or error.problem)
    beside = checksum_beside(address, hasty)
    if beside is None:
        _warn_unvouched(address)
        return RemoteFile(address, None, None, "nobody")
    return RemoteFile(address, None, beside, "checksum file")


def _local(path: Path, checksum: str | None) -> Archive:
    expected, vouched_by = checksum, "option"
    try:
        size = path.stat().st_size
        if expected is None:
            expected, vouched_by = _checksum_file(path), "checksum file"
        algorithm = (expected or "sha256:").partition(":")[0]
        found = file_checksum(path, algorithm, f"checking {path.name}")
    except OSError as error:
        raise unreadable(path, error) from None
    if expected is None:
        vouched_by = "nobody"
        _warn_unvouched(str(path))
    elif found != expected:
        raise _other_file(path, found, expected)
    return Archive(path, Origin(str(path), size, found, vouched_by), True)


def _checksum_file(path: Path) -> str | None:
    for algorithm in ("sha256", "md5"):
        beside = path.with_name(f"{path.name}.{algorithm}")
        if beside.is_file():
            text = beside.read_bytes()[:100_000].decode("utf-8", "replace")
            if found := read_checksum_file(text, algorithm, path.name):
                return found
    return None


def _warn_unvouched(where: str) -> None:
    logger.warning(
        "Nobody vouches for the contents of %s: there is no checksum to compare with. What was "
        "fetched is remembered; --checksum ALGORITHM:HEX would settle it.",
        where,
    )


def _adopted(target: Path, remote: RemoteFile) -> Origin:
    """The origin of a file that somebody put in the archive's place, if it is the archive."""
    algorithm = (remote.checksum or "sha256:").partition(":")[0]
    try:
        now = target.stat()
        found = file_checksum(target, algorithm, f"checking {target.name}")
    except OSError as error:
        raise unreadable(target, error) from None
    if remote.checksum is None or found != remote.checksum:
        raise _other_file(
            target,
            f"{now.st_size:,} bytes, {found}",
            f"{remote.size:,} bytes, {remote.checksum}"
            if remote.size
            else remote.checksum or "nothing there, or a file whose checksum is known",
        )
    origin = Origin(remote.url, now.st_size, found, remote.vouched_by, mtime_ns=now.st_mtime_ns)
    write_origin(origin_path(target), origin)
    logger.info("%s was there already, and is the archive", target)
    return origin


def _other_file(path: Path, found: str, expected: str) -> SimpleChromeError:
    return InputFormatError(
        f"{path} is not the archive that was expected.",
        found=found,
        expected=expected,
        cause="an interrupted download or copy, or another version",
        remedy=f"delete {path} to have it fetched, or name the file that is meant: --source FILE",
    )


def _check_room(
    folder: Path, to_fetch: int, archive_size: int, wanted: Collection[str] | None
) -> None:
    """Is there room for the rest of the archive and what comes out of it?

    What comes out is not known before. It is not less than the archive's share, which is
    demanded; what it usually is, is only warned about: the archive stays, and the unpacking
    checks each file against the space left.
    """
    share = 1.0 if wanted is None else min(len(wanted) / N_PUBLISHED, 1.0)
    least = to_fetch + int(share * archive_size) + RESERVE
    usual = to_fetch + int(USUAL_EXPANSION * share * archive_size) + RESERVE
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise unreadable(folder, error) from None
    parts = (
        f"{size_text(to_fetch)} to fetch, {size_text(int(share * archive_size))} to "
        f"{size_text(int(USUAL_EXPANSION * share * archive_size))} to unpack"
    )
    if free < least:
        raise OutputError(
            f"There is no room in {folder}.",
            found=f"{size_text(free)} free",
            expected=f"{size_text(least)} at least, better {size_text(usual)}: {parts}",
            remedy="free space, choose another folder (--to DIR), or fewer cell types "
            "(--cell-type)",
        )
    if free < usual:
        logger.warning(
            "The disk may become full: %s free, %s may be needed (%s)",
            size_text(free),
            size_text(usual),
            parts,
        )

"""Files and folders that are either whole or not there."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simplechrome.errors import OutputError, OutputExistsError
from simplechrome.work.lock import only_one

_LONGEST_NAME = 220  # most file systems take 255


def _parent_of(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder for {path} cannot be made.",
            found=f"{error.strerror or error}: {error.filename}",
            expected="a folder that can be written, or a path where one can be made",
            remedy="choose another output path",
        ) from error
    return path.parent


def _failure(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written.",
        found=error.strerror or str(error),
        expected="a place with room and the right to write",
        remedy="free space, or choose another output path",
    )


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Where can a file be written so that it appears under `path` only when it is whole?

    Yields a temporary path in the same folder, which replaces `path` on a clean exit and is
    removed on any other.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    target = Path(path)
    parent = _parent_of(target)
    if target.is_dir():
        raise OutputError(
            f"{target} cannot be written as a file.", found="a folder", expected="a file name"
        )
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=parent)
        os.close(descriptor)
        temporary = Path(name)
        # mkstemp makes files that only their owner may read; a result is to be shared.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _failure(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write plain values as JSON, whole or not at all; NaN is an error."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


@contextmanager
def whole_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Where can a folder be filled so that it appears under `path` only when it is whole?

    Yields a temporary folder beside `path`, which takes its place on a clean exit and is removed
    on any other. A folder that is replaced stays in place until the new one is whole. What a
    killed process has left behind is removed by the next one.

    Raises
    ------
    OutputExistsError
        If `path` is there already and `overwrite` is False.
    OutputError
        If the folder cannot be written, or another process is just writing it.
    """
    target = Path(path)
    if target.is_symlink():  # A folder cannot be renamed onto a link: go where it points.
        target = target.resolve()
    check_free(target, overwrite=overwrite)
    if target.exists() and not target.is_dir():
        raise OutputError(
            f"{target} cannot be written as a folder.",
            found="a file",
            expected="a folder, or nothing",
            remedy="choose another output path",
        )
    parent = _parent_of(target)
    temporary = parent / f".{target.name}.part"
    with only_one(parent / f".{target.name}.lock", wait=False, work=str(target)):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            put_in_place(temporary, target)
        except OSError as error:
            raise _failure(target, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Give a finished folder its name, in one step wherever the system can.

    What it replaces lies under the folder's former name afterwards, or under `replaced_by_halves`
    where the file system cannot exchange two names, as some network ones.

    Raises
    ------
    OSError
        If it cannot be renamed; `target` is then what it was.
    """
    if not target.exists():
        folder.replace(target)
        return
    if _exchange(folder, target):
        return
    aside = replaced_by_halves(target)
    shutil.rmtree(aside, ignore_errors=True)
    target.replace(aside)
    try:
        folder.replace(target)
    except BaseException:
        aside.replace(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def replaced_by_halves(target: Path) -> Path:
    """Where lies a folder that `put_in_place` moved aside and was killed before it went on?"""
    return target.with_name(f".{target.name}.replaced")


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    swap, at_working_folder = 2, -100  # RENAME_EXCHANGE and RENAME_SWAP; AT_FDCWD
    names = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            failed = library.renameat2(
                at_working_folder, names[0], at_working_folder, names[1], swap
            )
        elif sys.platform == "darwin":
            failed = library.renamex_np(*names, swap)
        else:
            return False
    except (AttributeError, TypeError, OSError):  # No such function in the system's library.
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(second))


def check_free(path: str | Path, *, overwrite: bool = False) -> None:
    """May `path` be written?

    Called before long work, so that nobody waits for a result that cannot be stored.

    Raises
    ------
    OutputExistsError
        If something is there already and `overwrite` is False.
    OutputError
        If `path` lies beneath a file.
    """
    target = Path(path)
    longest = max((len(os.fsencode(part)) for part in target.parts), default=0)
    if longest > _LONGEST_NAME:
        raise OutputError(
            f"{target} is too long a name.",
            found=f"{longest} bytes",
            expected=f"{_LONGEST_NAME} at most: names for unfinished work are made of it",
        )
    if target.exists() and not overwrite:
        raise OutputExistsError(
            f"{target} exists already.",
            expected="a new path",
            remedy="choose another output path, or pass --overwrite (overwrite=True) to replace it",
        )
    for parent in target.parents:
        if parent.exists():
            if not parent.is_dir():
                raise OutputError(
                    f"{target} cannot be written.",
                    found=f"{parent} is a file",
                    expected="a folder",
                    remedy="choose another output path",
                )
            break

"""Files and folders that are either whole or not there, written by one process at a time."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from simplechrome.errors import OutputError, OutputExistsError

logger = logging.getLogger(__name__)

REQUEST = ".request.json"
"""In unfinished work and until it is in place: what was asked for."""

_LONGEST_NAME = 220  # most file systems take 255
_OTHER_PATH = "free space, or choose another output path"


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error for a path that the system does not let us write."""
    return OutputError(f"{path} cannot be written: {error.strerror or error}.", _OTHER_PATH)


@contextmanager
def only_one(lock: Path, *, wait: bool = True, work: str = "") -> Iterator[None]:
    """Hold a lock file, so that one process at a time works on something.

    The system frees the lock when its holder ends, however it ends.

    Parameters
    ----------
    lock
        Created here and removed afterwards.
    wait
        False: fail at once where another process holds it.
    work
        What the lock guards, for messages; by default the lock's folder.

    Raises
    ------
    OutputError
        If the lock cannot be written, or is held by another process and `wait` is False.
    """
    what = work or str(lock.parent)
    held = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise OutputError(
                    f"Another process is at work on {what}: it holds the lock {lock}.",
                    "wait until it has finished, stop it, or choose another output path",
                ) from None
            logger.warning("Waiting for another process that works on %s (lock: %s)", what, lock)
            held.acquire()
    except OSError as error:
        raise cannot_write(lock.parent, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: whoever waits takes a new file then
        held.release()


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` on a clean exit and is removed on any other.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} cannot be written as a file: it is a folder.", _OTHER_PATH)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        # mkstemp makes files that only their owner may read; a result is to be shared.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write plain values as JSON, whole or not at all; NaN is an error."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


@contextmanager
def whole_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` on a clean exit only.

    A folder that is replaced stays in place until the new one is whole. What a killed process
    has left behind is removed, or put in place, by the next one.

    Raises
    ------
    OutputExistsError
        If `path` is there already and `overwrite` is False.
    OutputError
        If the folder cannot be written, or another process is just writing it.
    """
    target = Path(path)
    if target.is_symlink():  # A folder cannot be renamed onto a link: write where it points.
        target = target.resolve()
    temporary = target.with_name(f".{target.name}.part")
    with only_one(lock_of(target), wait=False, work=str(target)):
        try:
            finish_replacing(target)
            check_free(target, overwrite=overwrite)
            if target.is_file():
                raise OutputError(
                    f"{target} cannot be written as a folder: it is a file.", _OTHER_PATH
                )
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            put_in_place(temporary, target)
        except OSError as error:
            raise cannot_write(target, error) from error
        finally:
            for rest in (temporary, leftovers(target)[0]):
                shutil.rmtree(rest, ignore_errors=True)


def lock_of(target: Path) -> Path:
    """Return the lock file of whoever writes a folder."""
    return target.with_name(f".{target.name}.lock")


def leftovers(target: Path) -> tuple[Path, Path]:
    """Return where a new folder lies that has yet to take its name, and the one it replaces."""
    return target.with_name(f".{target.name}.whole"), target.with_name(f".{target.name}.replaced")


def put_in_place(folder: Path, target: Path) -> None:
    """Give a finished folder its name; what was there before is deleted.

    Once the folder is called `.NAME.whole`, whoever calls `finish_replacing` completes the rest:
    a process killed at any moment leaves the old folder or the new one.

    Raises
    ------
    OSError
        If it cannot be renamed; `target` is then what it was.
    """
    folder.replace(leftovers(target)[0])
    finish_replacing(target)


def finish_replacing(target: Path) -> None:
    """Complete what a process that was killed in `put_in_place` had yet to do."""
    whole, replaced = leftovers(target)
    if whole.exists():
        (whole / REQUEST).unlink(missing_ok=True)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.replace(replaced)
        try:
            whole.replace(target)
        except OSError:
            if replaced.exists():
                replaced.replace(target)
            raise
    shutil.rmtree(replaced, ignore_errors=True)


def check_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Check, before long work, that its result can be written to `path`.

    Raises
    ------
    OutputExistsError
        If something is there already and `overwrite` is False.
    OutputError
        If `path` lies below a file, or its name is too long.
    """
    target = Path(path)
    longest = max((len(os.fsencode(part)) for part in target.parts), default=0)
    if longest > _LONGEST_NAME:
        raise OutputError(
            f"{target} is too long a name: {longest} bytes, at most {_LONGEST_NAME} are possible.",
            "choose a shorter one",
        )
    if target.exists() and not overwrite:
        raise OutputExistsError(
            f"{target} exists already.",
            "choose another output path, or pass --overwrite (overwrite=True) to replace it",
        )
    lowest = next((parent for parent in target.parents if parent.exists()), None)
    if lowest is not None and not lowest.is_dir():
        raise OutputError(
            f"{target} cannot be written: {lowest} is a file.", "choose another output path"
        )

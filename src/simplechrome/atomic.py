"""Files and folders that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simplechrome.errors import OutputError, OutputExistsError


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
        f"{path} cannot be written; nothing was left behind.",
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


@contextmanager
def whole_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Where can a folder be filled so that it appears under `path` only when it is whole?

    Yields a temporary folder beside `path`, which takes its place on a clean exit and is removed
    on any other. A folder that is replaced stays in place until the new one is whole.

    Raises
    ------
    OutputExistsError
        If `path` is there already and `overwrite` is False.
    OutputError
        If the folder cannot be written.
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
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        yield temporary
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=parent))
            try:
                target.replace(old)
                temporary.replace(target)
            except BaseException:
                if not target.exists():
                    old.replace(target)
                raise
            finally:
                # Once the new folder is in place, a rest of the old one does no harm.
                if target.exists():
                    shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(target)
    except OSError as error:
        raise _failure(target, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


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

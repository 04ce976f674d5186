"""Long work in a folder: resumable after any interruption, and under its name only when whole.

The work for `runs/e012` is done in `runs/e012.unfinished`, by one process at a time. A file there
holds the request, so that the work is resumed for the same options and data only.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from simplechrome.errors import ConfigError, OutputError, OutputExistsError, first_names
from simplechrome.work.files import (
    REQUEST,
    cannot_write,
    check_free,
    finish_replacing,
    leftovers,
    lock_of,
    only_one,
    put_in_place,
)

log = logging.getLogger(__name__)

_SUFFIX = ".unfinished"


class Work(NamedTuple):
    """Work in progress.

    folder : where to write
    resumed : it was begun before; what is there can be relied on
    """

    folder: Path
    resumed: bool


def _followed(target: str | Path) -> Path:
    """The path itself, or where a link or `.` points."""
    path = Path(target)
    return path.resolve() if path.is_symlink() or path.name in ("", "..") else path


def _result(target: str | Path) -> Path:
    path = _followed(target)
    check_free(path, overwrite=True)
    if not path.name or path.name.endswith(_SUFFIX) or path.resolve() == Path.cwd():
        raise OutputError(
            f"{target} cannot be the name of a result: it is the root of the file system, the "
            "working directory, or a folder of unfinished work.",
            f"choose another path; to continue unfinished work, give its name without {_SUFFIX} "
            "and --resume",
        )
    return path


def unfinished_folder(target: str | Path) -> Path:
    """Return where the work is done that ends in `target`."""
    path = _followed(target)
    return path.parent / f"{path.name}{_SUFFIX}"


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the options in which two requests differ.

    Returns
    -------
    Lines such as `encoder.epochs: begun with 12, now 20`.
    """
    lines = []
    if begun.get("name") != asked.get("name"):  # Another model has other options.
        begun, asked = {"name": begun.get("name")}, {"name": asked.get("name")}
    for name in sorted({*begun, *asked}):
        before, now = begun.get(name), asked.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            lines += differences(before, now, f"{prefix}{name}.")
        elif before != now:
            lines.append(f"{prefix}{name}: begun with {_shown(before)}, now {_shown(now)}")
    return lines


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def refuse_existing(target: Path, describe: Callable[[Path], str]) -> None:
    """Check that nothing, finished or not, would be replaced by new work for `target`.

    Raises
    ------
    OutputExistsError
        If a finished or unfinished result is there.
    """
    check_free(target, overwrite=True)
    folder = unfinished_folder(target)
    if _holds_something(target):
        raise OutputExistsError(
            f"{target} exists already: {describe(target)}.",
            "choose another output path, pass --overwrite (overwrite=True) to replace it, "
            "or --resume (resume=True) to finish what is not finished",
        )
    if folder.exists():
        raise OutputExistsError(
            f"{target} was begun and not finished: {folder} holds {describe(folder)}.",
            "pass --resume (resume=True) to continue, or --overwrite (overwrite=True) to start "
            "again",
        )


@contextmanager
def long_work(
    target: str | Path,
    request: Mapping[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    describe: Callable[[Path], str],
    require_ours: Callable[[Path], None],
    worth_keeping: Callable[[Path], bool],
) -> Iterator[Work]:
    """Yield a folder for long work that takes the name `target` on a clean exit.

    On any other exit it stays for the next call, if it holds something worth keeping.

    Parameters
    ----------
    target
        The result's path.
    request
        All that decides the result, as plain JSON: options, checksums of inputs. Work is resumed
        only for the same request.
    resume
        Continue work that was begun; begin it where there is none.
    overwrite
        Replace a finished result. Without `resume`, unfinished work is replaced too.
    describe
        A folder, finished or not → what it holds, in a few words.
    require_ours
        Raises OutputExistsError where a folder that would be replaced holds anything else than
        a result of this kind.
    worth_keeping
        An unfinished folder → whether somebody would want to resume it.

    Raises
    ------
    OutputExistsError
        If something is there, and neither `resume` nor `overwrite` allows for it.
    OutputError
        If the folder cannot be written, or another process is at work on it.
    ConfigError
        If the work was begun with another request.
    """
    path = _result(target)
    with only_one(lock_of(path), wait=False, work=str(path)):
        finish_replacing(path)
        folder = unfinished_folder(path)
        shutil.rmtree(_nameless(folder), ignore_errors=True)
        if not (resume or overwrite):
            refuse_existing(path, describe)
        if _holds_something(path):
            if not overwrite:
                raise OutputExistsError(
                    f"{path} is finished ({describe(path)}), and unfinished work would replace it."
                    if folder.exists()
                    else f"{path} is not a result that can be resumed: {describe(path)}.",
                    "pass --overwrite (overwrite=True) as well if it may be replaced, or choose "
                    "another output path",
                )
            require_ours(path)
        resumed = resume and folder.exists()
        if resumed:
            _require_same(path, request)
            _remove_temporaries(folder)
            log.info("Resuming %s: %s", folder, describe(folder))
        else:
            _begin(folder, request, path)
        try:
            yield Work(folder, resumed)
        except BaseException:
            if worth_keeping(folder):
                log.warning(
                    "%s is not finished. What was done is kept in %s (%s): --resume continues it",
                    path,
                    folder,
                    describe(folder),
                )
            else:
                _remove(folder)
            raise
        try:
            put_in_place(folder, path)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be put in place: {error.strerror or error}. The whole result is "
                f"in {leftovers(path)[0]}.",
                "rename it by hand, or call again with --resume",
            ) from error


def settle(target: str | Path) -> None:
    """Complete what a process that was killed while its result took its name has left to do.

    Raises
    ------
    OutputError
        If another process is at work on it.
    """
    path = _result(target)
    if any(rest.exists() for rest in (*leftovers(path), lock_of(path))):
        with only_one(lock_of(path), wait=False, work=str(path)):
            finish_replacing(path)


def _holds_something(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _nameless(folder: Path) -> Path:
    """Where unfinished work lies before it is begun and while it is deleted."""
    return folder.with_name(f".{folder.name}.part")


def _remove(folder: Path) -> None:
    """Delete unfinished work; it loses its name first, as an incomplete rest is not resumable."""
    rest = _nameless(folder)
    shutil.rmtree(rest, ignore_errors=True)
    folder.replace(rest)
    shutil.rmtree(rest)


def _remove_temporaries(folder: Path) -> None:
    """Delete files and folders that a killed process had not finished."""
    for rest in folder.rglob(".*"):
        if rest.is_file() and rest.name != REQUEST:
            rest.unlink()
        elif rest.is_dir() and rest.name.endswith(".part"):
            shutil.rmtree(rest)


def _begin(folder: Path, request: Mapping[str, Any], target: Path) -> None:
    """Create the folder, with the request in it from its first moment."""
    if folder.exists():
        if not (folder / REQUEST).is_file():
            names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
            raise OutputExistsError(
                f"{folder} is where the work would be done, and was not made by this program "
                f"({first_names(names) or 'no files'}).",
                "move it away, or choose another output path",
            )
        _remove(folder)
    rest = _nameless(folder)
    try:
        rest.mkdir(parents=True)
        text = json.dumps(request, indent=1) + "\n"
        (rest / REQUEST).write_text(text, encoding="utf-8")
        rest.replace(folder)
    except OSError as error:
        shutil.rmtree(rest, ignore_errors=True)
        raise cannot_write(target, error) from error


def _require_same(target: Path, request: Mapping[str, Any]) -> None:
    try:
        begun = json.loads((unfinished_folder(target) / REQUEST).read_text(encoding="utf-8"))
        lines = differences(begun, json.loads(json.dumps(request)))
    except (OSError, ValueError, AttributeError):
        raise OutputExistsError(
            f"{unfinished_folder(target)} cannot be resumed: no readable {REQUEST} is in it.",
            "move it away, or choose another output path",
        ) from None
    if lines:
        raise ConfigError(
            f"{target} was begun with other options or other data: {'; '.join(lines[:6])}.",
            "repeat the options of the first call on the same data, or pass --overwrite without "
            "--resume to start again",
        )

"""Long work in a folder: begun once, taken up again after any end, and whole when it has its name.

The work for `runs/e012` is done in `runs/e012.unfinished`, by one process at a time. A file there
says what was asked for; it moves with the folder to its final name and is removed last, so that
a process killed at any moment leaves a state that the next one can name and go on from.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from simplechrome.errors import ConfigError, OutputError, OutputExistsError
from simplechrome.work.files import check_free, put_in_place, replaced_by_halves, whole_file
from simplechrome.work.lock import only_one

log = logging.getLogger(__name__)

REQUEST = ".request.json"


class Work(NamedTuple):
    """Work in progress.

    folder : where to write
    resumed : it was begun before; what is there can be relied on
    """

    folder: Path
    resumed: bool


_SUFFIX = ".unfinished"


def _followed(target: str | Path) -> Path:
    """The path itself, or where a link or `.` points."""
    path = Path(target)
    return path.resolve() if path.is_symlink() or path.name in ("", "..") else path


def _result(target: str | Path) -> Path:
    path = _followed(target)
    check_free(path, overwrite=True)
    if not path.name or path.name.endswith(_SUFFIX):
        raise OutputError(
            f"{target} cannot be the name of a result.",
            found="a folder of unfinished work" if path.name else "the root of the file system",
            expected="the name that the result shall have",
            remedy=f"give {path.name.removesuffix(_SUFFIX)}, with --resume to go on with it"
            if path.name
            else "choose another output path",
        )
    if path.resolve() == Path.cwd():
        raise OutputError(
            f"{target} is the folder that you are in.",
            expected="a path whose folder can be replaced as a whole",
            remedy="name a folder inside of it, or call from another one",
        )
    return path


def unfinished_folder(target: str | Path) -> Path:
    """Where is the work done that ends in `target`?"""
    path = _followed(target)
    return path.parent / f"{path.name}{_SUFFIX}"


def unfinished_request(target: str | Path) -> dict[str, Any] | None:
    """What was asked for when the work for `target` began; None if none is unfinished."""
    try:
        request = json.loads((unfinished_folder(target) / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return request if isinstance(request, dict) else None


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """In which options do two requests differ?

    Returns
    -------
    Lines such as `encoder.epochs: begun with 12, now 20`.
    """
    lines = []
    if begun.get("name") != asked.get("name"):  # Another model: its options say nothing.
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
    """May new work for `target` begin, without leave to replace anything?

    Raises
    ------
    OutputExistsError
        If a finished or unfinished result is there; names both ways on.
    """
    check_free(target, overwrite=True)
    folder = unfinished_folder(target)
    if target.exists() and not _is_empty(target):
        raise OutputExistsError(
            f"{target} exists already.",
            found=describe(target),
            expected="a new path",
            remedy="choose another output path, pass --overwrite (overwrite=True) to replace it, "
            "or --resume (resume=True) to finish what is not finished",
        )
    if folder.exists() and not _is_blank(folder):
        raise OutputExistsError(
            f"{target} was begun and not finished.",
            found=f"{folder} with {describe(folder)}",
            expected="a new path",
            cause="the process was stopped or killed",
            remedy="pass --resume (resume=True) to go on from there, or --overwrite "
            "(overwrite=True) to begin anew",
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
    """Where can long work be done so that its result appears only when it is whole?

    On a clean exit the folder takes its name, in one step. On any other it stays for the next
    call, if it holds something worth keeping.

    Parameters
    ----------
    target
        The result's path.
    request
        All that decides the result, as plain JSON: options, checksums of inputs. Work is taken up
        again only for the same request.
    resume
        Go on with work that was begun; begin it where there is none.
    overwrite
        Replace a finished result. Without `resume`, unfinished work is replaced too.
    describe
        A folder, finished or not → what it holds, in a few words.
    require_ours
        Raises OutputExistsError where a folder that would be replaced holds anything else than
        a result of this kind.
    worth_keeping
        An unfinished folder → would somebody want to go on with it?

    Yields
    ------
    Work

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
    check_free(path, overwrite=True)
    with only_one(_lock(path), wait=False, work=str(path)):
        _finish_replacing(path)
        folder = unfinished_folder(path)
        shutil.rmtree(_given_up(folder), ignore_errors=True)
        if not (resume or overwrite):
            refuse_existing(path, describe)
        if path.exists() and not _is_empty(path):
            if not overwrite:
                raise OutputExistsError(
                    f"{path} is finished, and unfinished work would replace it."
                    if folder.exists()
                    else f"{path} is not a result that can be resumed.",
                    found=describe(path),
                    remedy="pass --overwrite (overwrite=True) as well if it may be replaced, or "
                    "choose another output path",
                )
            require_ours(path)
        resumed = resume and folder.exists() and not _is_blank(folder)
        if resumed:
            _require_same(path, request)
            # Files that a killed process had not finished.
            for rest in folder.rglob(".*"):
                if rest.is_file() and rest.name != REQUEST:
                    rest.unlink()
                elif rest.is_dir() and rest.name.endswith(".part"):
                    shutil.rmtree(rest)
            log.info("Going on with %s: %s", folder, describe(folder))
        else:
            _begin(folder, request, path)
        try:
            yield Work(folder, resumed)
        except BaseException:
            if not worth_keeping(folder):
                _remove(folder)
            else:
                log.warning(
                    "%s is not finished. What was done is kept in %s (%s): --resume goes on from "
                    "there",
                    path,
                    folder,
                    describe(folder),
                )
            raise
        if path.is_dir() and _is_empty(path):
            path.rmdir()
        try:
            put_in_place(folder, path)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be put in place; the whole result is in {folder}.",
                found=error.strerror or str(error),
                remedy="rename it by hand, or call again with --resume",
            ) from error
        _finish_replacing(path)


def settle(target: str | Path) -> None:
    """Finish what a process that was killed while its result took its name has left to do.

    Raises
    ------
    OutputError
        If another process is at work on it.
    """
    path = _result(target)
    held = (path / REQUEST, replaced_by_halves(path), _lock(path))
    if any(rest.exists() for rest in held):
        with only_one(_lock(path), wait=False, work=str(path)):
            _finish_replacing(path)


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _finish_replacing(path: Path) -> None:
    aside = replaced_by_halves(path)
    if not path.exists() and aside.exists():
        aside.replace(path)
        log.warning("%s was restored: a process was killed while replacing it", path)
    if (path / REQUEST).is_file():
        # The new result has its name. Only now does the old one go, and the request last.
        shutil.rmtree(unfinished_folder(path), ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
        (path / REQUEST).unlink()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_blank(folder: Path) -> bool:
    """Was the process killed before it had said what was asked for?"""
    temporary = f".{REQUEST}."  # as `whole_file` names it
    return folder.is_dir() and all(entry.name.startswith(temporary) for entry in folder.iterdir())


def _given_up(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _remove(folder: Path) -> None:
    """Delete unfinished work. It loses its name first: half of it must not be resumed."""
    rest = _given_up(folder)
    shutil.rmtree(rest, ignore_errors=True)
    folder.replace(rest)
    shutil.rmtree(rest)


def _begin(folder: Path, request: Mapping[str, Any], target: Path) -> None:
    if folder.exists():
        if not folder.is_dir() or not ((folder / REQUEST).is_file() or _is_blank(folder)):
            raise OutputExistsError(
                f"{folder} is in the way, and was not made by this program.",
                found=", ".join(sorted(entry.name for entry in folder.iterdir())[:8])
                if folder.is_dir()
                else "a file",
                expected="nothing there while the work goes on",
                remedy="move it away, or choose another output path",
            )
        _remove(folder)
    try:
        folder.mkdir(parents=True)
        with whole_file(folder / REQUEST) as temporary:
            temporary.write_text(json.dumps(request, indent=1) + "\n", encoding="utf-8")
    except (OSError, OutputError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(
            f"{target} cannot be written.",
            found=error.found if isinstance(error, OutputError) else error.strerror or str(error),
            expected="a folder where files can be made",
            remedy="free space, or choose another output path",
        ) from error


def _require_same(target: Path, request: Mapping[str, Any]) -> None:
    begun = unfinished_request(target)
    if begun is None:
        raise OutputExistsError(
            f"{unfinished_folder(target)} cannot be resumed.",
            found=f"no {REQUEST} that can be read",
            expected="the file that says what was asked for",
            cause="a damaged or incomplete copy",
            remedy="move it away, or choose another output path",
        )
    lines = differences(begun, json.loads(json.dumps(request)))
    if lines:
        raise ConfigError(
            f"{target} was begun with other options or other data.",
            found="; ".join(lines[:6]),
            expected="the same, so that the result is what an undisturbed run gives",
            remedy="repeat the options of the first call on the same data, or pass --overwrite "
            "without --resume to begin anew",
        )

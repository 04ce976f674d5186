"""Is this the only process that writes here? A lock that ends with the process that holds it."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simplechrome.errors import OutputError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_TRIES = 0.2

# What flock answers on file systems that have no locks, as some network ones.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def only_one(lock: Path, *, wait: bool = True, work: str = "") -> Iterator[None]:
    """When is this process the only one to hold `lock`?

    Waits until it is, and says once for whom. The operating system frees the lock when its
    holder ends, however it ends. Where there are no such locks (Windows, some network file
    systems) a file beside `lock` is made instead, and a second process does not wait but stops.

    Parameters
    ----------
    lock
        A file that is made, and removed afterwards.
    wait
        False: stop where somebody else holds it.
    work
        What the lock guards, for messages; by default the lock's folder.

    Raises
    ------
    OutputError
        If the lock cannot be written, or is held by somebody else and there is no waiting.
    """
    what = work or str(lock.parent)
    told = False
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            release = _take(lock, what)
        except OSError as error:
            raise OutputError(
                f"{lock.parent} cannot be written.",
                found=error.strerror or str(error),
                expected="a folder where files can be made",
                remedy="choose another folder",
            ) from error
        if release is not None:
            break
        if not wait:
            raise OutputError(
                f"Another process is at work on {what}.",
                found=f"the lock {lock}, held by {_holder(lock)}",
                expected="one process at a time",
                remedy="wait until it has finished, stop it, or choose another output path",
            )
        if not told:
            told = True
            logger.warning(
                "Another process (%s) is at work on %s; waiting until it has finished. Lock: %s",
                _holder(lock),
                what,
                lock,
            )
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        release()


def _take(lock: Path, what: str) -> Callable[[], None] | None:
    """A function that gives the lock back; None while somebody else has it."""
    if sys.platform == "win32":
        return _make_pid_file(lock, what)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    taken = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return _make_pid_file(lock, what)
            raise
        # The former holder may have removed the file after it was opened here: then this is a
        # lock on a file that nobody else can see.
        with suppress(FileNotFoundError):
            taken = os.path.samestat(os.fstat(descriptor), lock.stat())
        if not taken:
            return None
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, _signature())
        except OSError:  # A full disk: the lock must not outlive the call.
            taken = False
            lock.unlink(missing_ok=True)
            raise
    finally:
        if not taken:
            os.close(descriptor)

    def release() -> None:
        lock.unlink(missing_ok=True)
        os.close(descriptor)

    return release


def _make_pid_file(lock: Path, what: str) -> Callable[[], None]:
    path = lock.with_name(lock.name + ".pid")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise _held(path, what) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(_signature())
    return lambda: path.unlink(missing_ok=True)


def _held(path: Path, what: str) -> OutputError:
    holder = _holder(path)
    gone = _is_gone(holder)
    return OutputError(
        f"Another process is at work on {what}.",
        found=f"the lock {path.name}, made by {holder}",
        expected="one process at a time",
        cause="that process was killed: it runs no longer" if gone else "it is still at work",
        remedy=f"delete {path} and call again"
        if gone
        else f"wait until it has finished; if nobody is at work there, delete {path}",
    )


def _signature() -> bytes:
    return f"process {os.getpid()} on {socket.gethostname()}".encode()


def _holder(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text() or "process unknown"
    return "process unknown"


def _is_gone(holder: str) -> bool:
    """Is it certain that the process has ended? Only on this machine, and not on Windows, where
    asking with os.kill would end it."""
    words = holder.split()
    if sys.platform == "win32" or len(words) != 4 or words[3] != socket.gethostname():
        return False
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return True
    except PermissionError:
        pass
    return False

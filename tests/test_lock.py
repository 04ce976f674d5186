"""One process at a time, and no lock outlives its holder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from simplechrome.errors import OutputError
from simplechrome.work import lock as locks
from simplechrome.work.lock import only_one

HOLD = """
import sys, time
from pathlib import Path
from simplechrome.work.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_is_gone_afterwards(tmp_path: Path) -> None:
    with only_one(tmp_path / "new" / ".lock"):
        assert (tmp_path / "new" / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert list((tmp_path / "new").iterdir()) == []


def test_lock_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_one(tmp_path / ".lock"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_come_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "SECONDS_BETWEEN_TRIES", 0.0005)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(10):
            with only_one(tmp_path / ".lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert f"Another process (process {os.getpid()} on " in caplog.text
    assert str(tmp_path / ".lock") in caplog.text


def test_second_is_refused_where_nobody_waits(tmp_path: Path) -> None:
    with only_one(tmp_path / ".lock"):
        holder = f"process {os.getpid()} on "
        with (
            pytest.raises(OutputError, match=rf"at work on runs/x(.|\n)*{holder}"),
            only_one(tmp_path / ".lock", wait=False, work="runs/x"),
        ):
            pass
    with only_one(tmp_path / ".lock", wait=False):
        pass


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert locks._take(lock, "work") is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with only_one(lock):
        pass
    assert not lock.exists()


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_without_system_locks_the_second_stops_and_names_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with only_one(tmp_path / ".lock"):
        with (
            pytest.raises(OutputError, match=r"it is still at work(.|\n)*delete .*\.lock\.pid"),
            only_one(tmp_path / ".lock"),
        ):
            pass
        assert (tmp_path / ".lock.pid").exists()
    assert not (tmp_path / ".lock.pid").exists()


def test_without_system_locks_a_dead_holder_is_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    signature = locks._signature().decode().split()
    signature[1] = str(2**22 + 1)  # Above the largest process number of Linux.
    (tmp_path / ".lock.pid").write_text(" ".join(signature))
    with pytest.raises(OutputError, match="it runs no longer"), only_one(tmp_path / ".lock"):
        pass


def test_holder_on_another_machine_counts_as_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    (tmp_path / ".lock.pid").write_text(f"process {2**22 + 1} on elsewhere")
    with pytest.raises(OutputError, match="it is still at work"), only_one(tmp_path / ".lock"):
        pass


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"cannot be written(.|\n)*choose another folder"),
        only_one(tmp_path / "file" / ".lock"),
    ):
        pass

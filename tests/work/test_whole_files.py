"""Files and folders appear whole or not at all; one process at a time writes them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from simplechrome.errors import OutputError, OutputExistsError, SimpleChromeError
from simplechrome.work.files import check_free, only_one, whole_file, whole_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(
    path: Path, text: str, *, overwrite: bool = False, failure: BaseException | None = None
) -> None:
    with whole_folder(path, overwrite=overwrite) as folder:
        (folder / "data").write_text(text)
        if failure is not None:
            raise failure


def write_file(path: Path, text: str, failure: BaseException) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text)
        raise failure


def test_file_appears_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "made" / "below" / "x.txt"
    with whole_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "new"
    assert names(target.parent) == ["x.txt"]


@pytest.mark.parametrize("failure", [OSError, RuntimeError, KeyboardInterrupt])
def test_failed_writing_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    (tmp_path / "file").write_text("old")
    write_folder(tmp_path / "folder", "old")
    expected = OutputError if failure is OSError else failure
    with pytest.raises(expected):
        write_file(tmp_path / "file", "half", failure())
    with pytest.raises(expected):
        write_folder(tmp_path / "folder", "half", overwrite=True, failure=failure())
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder" / "data").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_full_disk_is_named(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    with pytest.raises(OutputError, match=r"x\.txt cannot be written: No space left"):
        write_file(tmp_path / "x.txt", "half", full)
    assert names(tmp_path) == []


def test_files_and_folders_have_the_rights_of_any_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "file"):
            pass
        write_folder(tmp_path / "folder", "")
    finally:
        os.umask(before)
    # 666 and 777 without 027
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_overwriting_replaces_the_whole_folder_at_the_end(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "old")
    (tmp_path / "x" / "stray").touch()
    with whole_folder(tmp_path / "x", overwrite=True) as folder:
        assert (tmp_path / "x" / "data").read_text() == "old"
        (folder / "data").write_text("new")
    assert (tmp_path / "x" / "data").read_text() == "new"
    assert names(tmp_path / "x") == ["data"]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("failing_step", [1, 2, 3])
def test_old_folder_stays_if_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_step: int
) -> None:
    # Renamed are: the new folder when it is whole, the old one away, the new one in.
    write_folder(tmp_path / "x", "old")
    rename, steps = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += 1
        if steps == failing_step:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OutputError, match="Permission denied"):
        write_folder(tmp_path / "x", "new", overwrite=True)
    assert (tmp_path / "x" / "data").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_killed_process_leaves_the_old_folder_and_its_rest_is_removed(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "old")
    code = (
        "import os, signal, sys\n"
        "from simplechrome.work.files import whole_folder\n"
        "with whole_folder(sys.argv[1], overwrite=True) as folder:\n"
        "    (folder / 'half').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "x" / "data").read_text() == "old"
    assert ".x.part" in names(tmp_path)
    write_folder(tmp_path / "x", "new", overwrite=True)
    assert names(tmp_path / "x") == ["data"]
    assert names(tmp_path) == ["x"]


def test_folder_that_a_killed_process_finished_is_put_in_place(tmp_path: Path) -> None:
    (tmp_path / ".x.whole").mkdir()
    (tmp_path / ".x.replaced").mkdir()
    with pytest.raises(OutputExistsError):
        write_folder(tmp_path / "x", "other")
    assert names(tmp_path) == ["x"]


def test_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "data").read_text() == "new"
    assert names(tmp_path) == ["link", "real"]


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        (whole_folder, "folder", r"exists already(.|\n)*--overwrite"),
        (whole_folder, "file", "exists already"),
        (lambda path: whole_folder(path, overwrite=True), "file", "written as a folder"),
        (whole_file, "folder", "written as a file"),
        (whole_file, "file/below", "cannot be written"),
        (whole_folder, "file/below", "cannot be written"),
    ],
)
def test_path_that_is_taken_is_refused_before_the_work(
    tmp_path: Path, what: type, name: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SimpleChromeError, match=message), what(tmp_path / name):
        pytest.fail("the body must not run")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "folder"]


def test_paths_are_checked_before_long_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_free(tmp_path / "new" / "deep")
    check_free(tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError):
        check_free(tmp_path)
    with pytest.raises(OutputError, match="file is a file"):
        check_free(tmp_path / "file" / "a" / "b", overwrite=True)
    with pytest.raises(OutputError, match="221 bytes, at most 220"):
        check_free(tmp_path / ("x" * 221))


# Locks

HOLD = """
import sys, time
from pathlib import Path
from simplechrome.work.files import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_many_at_once_come_one_by_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with only_one(tmp_path / "new" / ".lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20
    assert "Waiting for another process that works on" in caplog.text
    assert names(tmp_path / "new") == []


def test_second_is_refused_where_nobody_waits_and_a_killed_one_holds_nothing(
    tmp_path: Path,
) -> None:
    lock = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=r"at work on runs/x(.|\n)*\.lock"),
            only_one(lock, wait=False, work="runs/x"),
        ):
            pytest.fail("the body must not run")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with pytest.raises(RuntimeError), only_one(lock, wait=False):
        raise RuntimeError
    assert names(tmp_path) == []


def test_lock_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"cannot be written(.|\n)*choose another"),
        only_one(tmp_path / "file" / ".lock"),
    ):
        pytest.fail("the body must not run")

"""Files and folders appear whole or not at all, and what was there before survives a failure."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from simplechrome.errors import OutputError, OutputExistsError
from simplechrome.work import files as atomic
from simplechrome.work.files import check_free, whole_file, whole_folder


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


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failed_file_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(failure):
        write_file(target, "half", failure())
    assert target.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_full_disk_is_an_output_error_with_its_reason(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    with pytest.raises(OutputError, match=r"x\.txt cannot be written.*\n.*No space left"):
        write_file(tmp_path / "x.txt", "half", full)
    assert names(tmp_path) == []


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written as a file"), whole_file(tmp_path):
        pytest.fail("the body must not run")


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


def test_folder_appears_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "made" / "x.zarr"
    with whole_folder(target) as folder:
        (folder / "data").write_text("new")
        assert not target.exists()
    assert (target / "data").read_text() == "new"
    assert names(target.parent) == ["x.zarr"]


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "old")
    (tmp_path / "x" / "stray").touch()
    with whole_folder(tmp_path / "x", overwrite=True) as folder:
        assert (tmp_path / "x" / "data").read_text() == "old"
        (folder / "data").write_text("new")
    assert (tmp_path / "x" / "data").read_text() == "new"
    assert names(tmp_path / "x") == ["data"]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("failure", [OSError, RuntimeError, KeyboardInterrupt])
def test_a_failed_folder_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    write_folder(tmp_path / "x", "old")
    expected = OutputError if failure is OSError else failure
    with pytest.raises(expected):
        write_folder(tmp_path / "x", "half", overwrite=True, failure=failure())
    assert (tmp_path / "x" / "data").read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no such call there")
def test_two_folders_exchange_their_names_in_one_step(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "one")
    write_folder(tmp_path / "y", "two")
    if not atomic._exchange(tmp_path / "x", tmp_path / "y"):
        pytest.skip("this file system cannot exchange names")
    assert (tmp_path / "x" / "data").read_text() == "two"
    assert (tmp_path / "y" / "data").read_text() == "one"


def test_where_names_cannot_be_exchanged_a_folder_is_replaced_in_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    write_folder(tmp_path / "x", "old")
    write_folder(tmp_path / "x", "new", overwrite=True)
    assert (tmp_path / "x" / "data").read_text() == "new"
    assert names(tmp_path) == ["x"]


def test_the_rest_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".x.part").mkdir()
    (tmp_path / ".x.part" / "half").write_text("")
    write_folder(tmp_path / "x", "new")
    assert names(tmp_path / "x") == ["data"]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("failing_step", [1, 2])
def test_the_old_folder_comes_back_if_the_exchange_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_step: int
) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    # Step 1 moves the old folder aside, step 2 the new one in, step 3 (here) the old one back.
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


def test_a_killed_process_leaves_the_old_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "old")
    code = (
        "import os, signal, sys\n"
        "from simplechrome.work.files import whole_folder\n"
        "with whole_folder(sys.argv[1], overwrite=True) as folder:\n"
        "    (folder / 'data').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path / "x") == ["data"]
    assert (tmp_path / "x" / "data").read_text() == "old"


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "data").read_text() == "new"
    assert names(tmp_path) == ["link", "real"]


def test_a_folder_that_exists_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    expected = pytest.raises(OutputExistsError, match=r"exists already(.|\n)*--overwrite")
    with expected, whole_folder(tmp_path / "x"):
        pytest.fail("the body must not run")


def test_a_file_in_the_place_of_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    expected = pytest.raises(OutputError, match="cannot be written as a folder")
    with expected, whole_folder(tmp_path / "x", overwrite=True):
        pytest.fail("the body must not run")
    assert (tmp_path / "x").read_text() == "mine"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_path_below_a_file_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file"):
        check_free(tmp_path / "file" / "a" / "b", overwrite=overwrite)
    with pytest.raises(OutputError, match="cannot be made"), whole_file(tmp_path / "file" / "a"):
        pytest.fail("the body must not run")


def test_free_paths_are_free(tmp_path: Path) -> None:
    check_free(tmp_path / "new" / "deep")
    check_free(tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError):
        check_free(tmp_path)

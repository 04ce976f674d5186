"""Long work: what is found where, after it was stopped or killed at any step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simplechrome.errors import ConfigError, OutputError, OutputExistsError
from simplechrome.work.unfinished import (
    REQUEST,
    differences,
    long_work,
    refuse_existing,
    settle,
    unfinished_folder,
)


def describe(folder: Path) -> str:
    return f"{len(list(folder.glob('step*')))} steps"


def require_ours(folder: Path) -> None:
    if (folder / "thesis").exists():
        raise OutputExistsError(f"{folder} is not ours")


def work(
    target: Path, text: str = "new", *, steps: int = 3, stop: bool = False, **options: bool
) -> bool:
    """Write three steps, each only once; return whether it was resumed."""
    with long_work(
        target,
        {"text": text},
        describe=describe,
        require_ours=require_ours,
        worth_keeping=lambda folder: any(folder.glob("step*")),
        **options,
    ) as (folder, resumed):
        for step in range(steps):
            if not (folder / f"step{step}").exists():
                (folder / f"step{step}").write_text(text)
        if stop:
            raise RuntimeError("stopped")
    return resumed


def held(target: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(target.iterdir())}


WHOLE = {f"step{k}": "new" for k in range(3)}


def test_result_appears_whole_and_alone(tmp_path: Path) -> None:
    assert work(tmp_path / "x") is False
    assert held(tmp_path / "x") == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_stopped_work_is_kept_and_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", steps=2, stop=True)
    assert not (tmp_path / "x").exists()
    assert "is not finished. What was done is kept" in caplog.text
    (unfinished_folder(tmp_path / "x") / "step0").write_text("kept")
    assert work(tmp_path / "x", resume=True) is True
    assert held(tmp_path / "x") == {**WHOLE, "step0": "kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_work_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", steps=0, stop=True)
    assert list(tmp_path.iterdir()) == []


def test_resume_with_nothing_there_begins(tmp_path: Path) -> None:
    assert work(tmp_path / "x", resume=True) is False
    assert held(tmp_path / "x") == WHOLE


@pytest.mark.parametrize("finished", [True, False])
def test_second_call_says_what_exists_and_names_both_ways(tmp_path: Path, finished: bool) -> None:
    if finished:
        work(tmp_path / "x")
    else:
        with pytest.raises(RuntimeError):
            work(tmp_path / "x", stop=True)
    with pytest.raises(OutputExistsError) as caught:
        work(tmp_path / "x")
    for text in ("3 steps", "--resume", "--overwrite"):
        assert text in str(caught.value)
    with pytest.raises(OutputExistsError):
        refuse_existing(tmp_path / "x", describe)


def test_overwrite_starts_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", "old", stop=True)
    assert work(tmp_path / "x", overwrite=True) is False
    assert held(tmp_path / "x") == WHOLE


def test_old_result_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    work(tmp_path / "x", "old")
    old = held(tmp_path / "x")
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", steps=1, stop=True, overwrite=True)
    assert held(tmp_path / "x") == old
    with pytest.raises(OutputExistsError, match="unfinished work would replace it"):
        work(tmp_path / "x", resume=True)
    assert work(tmp_path / "x", resume=True, overwrite=True) is True
    assert held(tmp_path / "x") == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_other_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", "old", stop=True)
    with pytest.raises(ConfigError, match="other data: text: begun with old, now new"):
        work(tmp_path / "x", resume=True)


@pytest.mark.parametrize(
    ("begun", "asked", "lines"),
    [
        (
            {"encoder": {"epochs": 12, "name": "vae"}, "seed": 0, "labels": 100},
            {"encoder": {"epochs": 20, "name": "vae"}, "seed": 0},
            ["encoder.epochs: begun with 12, now 20", "labels: begun with 100, now nothing"],
        ),
        # Options of another model are not compared.
        (
            {"encoder": {"name": "vae", "epochs": 12}},
            {"encoder": {"name": "pca", "n_latent": 3}},
            ["encoder.name: begun with vae, now pca"],
        ),
    ],
)
def test_differences_go_into_sections(begun: dict, asked: dict, lines: list[str]) -> None:
    assert differences(begun, asked) == lines


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis").write_text("years")
    with pytest.raises(OutputExistsError, match="is not ours"):
        work(tmp_path / "x", overwrite=True)
    (tmp_path / "y.unfinished").mkdir()
    (tmp_path / "y.unfinished" / "thesis").write_text("years")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputExistsError):
            work(tmp_path / "y", **options)
    assert (tmp_path / "y.unfinished" / "thesis").read_text() == "years"


def test_second_process_is_refused(tmp_path: Path) -> None:
    def inside() -> None:
        with pytest.raises(OutputError, match=r"Another process is at work on .*x\."):
            work(tmp_path / "x", overwrite=True)

    with long_work(
        tmp_path / "x",
        {},
        describe=describe,
        require_ours=require_ours,
        worth_keeping=lambda folder: True,
    ):
        inside()


def test_link_is_followed(tmp_path: Path) -> None:
    work(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    work(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert held(tmp_path / "real") == WHOLE


KILLED_EVERYWHERE = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from simplechrome.work import unfinished
from test_unfinished import held, work

root, replacing, begun = Path(sys.argv[2]), sys.argv[3] == "replacing", sys.argv[4] == "begun"
count, limit = 0, None

def counted(function):
    def call(*arguments, **options):
        global count
        if limit is not None and count == limit:
            os._exit(9)  # as SIGKILL: nothing runs after it
        count += 1
        return function(*arguments, **options)
    return call

for owner, name in [(Path, n) for n in ("replace", "unlink", "rmdir", "mkdir", "write_text")] + [
    (shutil, "rmtree"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
]:
    setattr(owner, name, counted(getattr(owner, name)))

states = []
for limit_ in range(200):
    folder = root / str(limit_)
    os.makedirs(folder)
    target = folder / "x"
    if replacing:
        work(target, "old")
    if begun:
        try:
            work(target, "half", steps=2, stop=True, overwrite=replacing)
        except RuntimeError:
            pass
    child = os.fork()
    if child == 0:
        count, limit = 0, limit_
        work(target, overwrite=replacing or begun)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = held(target) if target.exists() else {}
    unfinished.settle(target)
    settled = held(target) if target.exists() else {}
    rest = folder / "x.unfinished" / unfinished.REQUEST
    half = rest.exists() and "half" in rest.read_text()  # not given up before the kill
    if half:
        assert len(list((folder / "x.unfinished").glob("step*"))) == 2
    work(target, resume=not half, overwrite=True)
    names = sorted(p.name for p in folder.iterdir())
    states.append((code, found, settled, held(target), names))
    if code == 0:
        break
print(json.dumps(states))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("replacing", ["new", "replacing"])
@pytest.mark.parametrize("begun", ["not begun", "begun"])
def test_killed_before_any_step_the_old_or_the_new_is_there(
    tmp_path: Path, replacing: str, begun: str
) -> None:
    code = [sys.executable, "-c", KILLED_EVERYWHERE, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run([*code, replacing, begun], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)
    assert states[-1][0] == 0
    assert [state[0] for state in states[:-1]] == [9] * (len(states) - 1)
    assert len(states) > 8
    old = dict.fromkeys(WHOLE, "old") if replacing == "replacing" else {}
    between = 0
    for _, found, settled, finished, names in states:
        # Between two renames neither has the name; the next call puts the new one in place.
        between += found not in (old, WHOLE)
        assert found in (old, WHOLE, {})
        assert settled in (old, WHOLE)
        assert finished == WHOLE
        assert names == ["x"]
    assert between <= 1


def test_settle_leaves_a_finished_result_alone(tmp_path: Path) -> None:
    work(tmp_path / "x")
    settle(tmp_path / "x")
    settle(tmp_path / "nothing")
    assert held(tmp_path / "x") == WHOLE
    assert REQUEST not in held(tmp_path / "x")


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_folder_of_unfinished_work_is_no_output(tmp_path: Path, options: dict) -> None:
    with pytest.raises(RuntimeError):
        work(tmp_path / "x", stop=True)
    with pytest.raises(OutputError, match="cannot be the name of a result") as caught:
        work(unfinished_folder(tmp_path / "x"), **options)
    assert "give its name without .unfinished and --resume" in caught.value.remedy
    with pytest.raises(OutputError, match="cannot be the name of a result"):
        settle(unfinished_folder(tmp_path / "x"))
    assert work(tmp_path / "x", resume=True) is True


def test_working_folder_and_links_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "x")
    monkeypatch.chdir(tmp_path / "x")
    assert unfinished_folder(".") == unfinished_folder(tmp_path / "link")
    assert unfinished_folder(".").name == "x.unfinished"
    with pytest.raises(OutputError, match="root of the file system"):
        work(Path("/"))

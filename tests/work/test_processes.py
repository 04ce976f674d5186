"""What another process logs reaches this one's log."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from simplechrome.work.processes import LoggedLine, relay, remembered

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from simulated_dataset import simulated_dataset
from simplechrome import run_benchmark
from simplechrome.benchmark.config import make_benchmark_config

options = {{"models": ["raw:linear", "pca:linear"], "labels": [20], "seeds": 2, "permutations": 0}}
folder = Path(__file__).with_name("benchmark")
run_benchmark(simulated_dataset(), make_benchmark_config(options), folder, jobs={jobs})
print(len(list((folder / "cells").iterdir())), "cells")
"""


def test_lines_are_remembered_and_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    with remembered() as lines:
        logging.getLogger("simplechrome.sources").info("%d tracks", 3)
        logging.getLogger("simplechrome.sources").warning("one is empty")
        logging.getLogger("elsewhere").warning("not ours")
    assert lines == [
        LoggedLine("simplechrome.sources", logging.INFO, "3 tracks"),
        LoggedLine("simplechrome.sources", logging.WARNING, "one is empty"),
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        relay(lines)
    assert caplog.messages == ["one is empty"]


def test_level_is_restored_and_lower_lines_pass_by() -> None:
    logger = logging.getLogger("simplechrome")
    before = logger.level
    with remembered(logging.WARNING) as lines:
        logger.info("of no matter")
    assert lines == []
    assert logger.level == before
    assert not any(type(handler).__name__ == "_Memory" for handler in logger.handlers)


def test_silent_lines_reach_no_other_handler(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("simplechrome")
    with remembered(silent=True) as lines:
        logger.warning("kept")
    assert [line.text for line in lines] == ["kept"]
    assert not caplog.messages
    assert logger.propagate


@pytest.mark.parametrize("jobs", [1, 2])
def test_script_without_main_guard(tmp_path: Path, jobs: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1]), jobs=jobs))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    if jobs == 1:
        assert (done.returncode, done.stdout) == (0, "4 cells\n"), done.stderr
    else:
        assert done.returncode == 1
        assert "__main__" in done.stderr.splitlines()[-1]
        assert done.stderr.count("Traceback") == 1

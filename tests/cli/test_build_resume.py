"""`simplechrome build deepchrome`: stopped, killed, resumed, refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simplechrome import open_dataset, simulate
from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.simulation.simulate import write_deepchrome_layout

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cell types of 40 genes in five bins, with a gene table."""
    folder = tmp_path_factory.mktemp("three") / "layout"
    write_deepchrome_layout(simulate(40, 3, n_bins=5, bin_size=2000, seed=1), folder)
    return folder


def build(layout: Path, output: Path) -> list[object]:
    genes = layout / "genes.tsv.gz"
    return ["build", "deepchrome", layout / "data", "-o", output, "--genes", genes]


def signal_when(text: str, number: signal.Signals, arguments: list[object]) -> tuple[int, str]:
    """Start `simplechrome ARGUMENTS`, send the signal once stderr says `text`; code and stderr."""
    program = Path(sys.executable).with_name("simplechrome")
    lines = []
    with subprocess.Popen(
        [program, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if text in line:
                    process.send_signal(number)
                    break
            lines += process.stderr.readlines()
            return process.wait(timeout=60), "".join(lines)
        finally:
            process.kill()


def test_killed_build_is_resumed_to_the_same_bytes(
    call: Call, layout: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    output = tmp_path / "new" / "roadmap.zarr"
    code, _ = signal_when("SIM002:", signal.SIGKILL, build(layout, output))
    assert code == -signal.SIGKILL
    assert not output.exists()
    with pytest.raises(Exception, match="was begun and not finished"):
        open_dataset(output)
    code, _, err = call(*build(layout, output))
    assert (code, "--resume" in err, "--overwrite" in err) == (1, True, True)
    code, out, err = call(*build(layout, output), "--resume")
    assert code == 0, err
    assert "1 cell types are read already" in err
    assert out == f"{output}: 3 cell types, 40 genes, 5 bins, 5 marks\n"
    undisturbed = tmp_path / "undisturbed.zarr"
    build_deepchrome_on_disk(layout / "data", undisturbed, genes=layout / "genes.tsv.gz")
    assert contents(output) == contents(undisturbed)
    assert [entry.name for entry in output.parent.iterdir()] == ["roadmap.zarr"]


def test_killed_replacement_leaves_the_old_dataset(
    call: Call, layout: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    output = tmp_path / "roadmap.zarr"
    assert call(*build(layout, output), "--cell-type", "SIM003")[0] == 0
    before = contents(output)
    arguments = [*build(layout, output), "--overwrite"]
    signal_when("SIM002:", signal.SIGKILL, arguments)
    assert contents(output) == before
    code, _, err = call(*build(layout, output), "--resume")
    assert (code, "unfinished work would replace it" in err) == (1, True)
    code, _, err = call(*arguments, "--resume")
    assert code == 0, err
    assert open_dataset(output)["cell_type"].values.tolist() == ["SIM001", "SIM002", "SIM003"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["roadmap.zarr"]


def test_interrupted_build_keeps_what_was_read(
    call: Call, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simplechrome.dataset.building import build as build_on_disk

    original = build_on_disk._cell_type_dataset

    def interrupted(counts: Any, **record: Any) -> Any:
        if counts.cell_type == "SIM003":
            raise KeyboardInterrupt
        return original(counts, **record)

    output = tmp_path / "roadmap.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(build_on_disk, "_cell_type_dataset", interrupted)
        code, out, err = call(*build(layout, output))
    assert (code, out, err.splitlines()[-1]) == (130, "", "Interrupted.")
    assert "roadmap.zarr.unfinished (2 cell types that are read): --resume continues" in err
    assert call(*build(layout, output), "--resume")[0] == 0
    code, out, err = call(*build(layout, output), "--resume")
    assert (code, out.startswith(f"{output}: 3 cell types")) == (0, True)
    assert "is finished: there is nothing to resume" in err
    code, _, err = call(*build(layout, output))
    assert (code, "--resume" in err, "a dataset of 3 cell types" in err) == (1, True, True)

"""Ctrl-C and SIGKILL: what a stopped `fit`, `predict` or `build` leaves, and how it is resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simplechrome import open_dataset, simulate
from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.latent import vae
from simplechrome.predictors import network
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.simulation.simulate import write_deepchrome_layout

Call = Callable[..., tuple[int, str, str]]


def signal_when(text: str, number: signal.Signals, *arguments: object) -> tuple[int, str]:
    """Start `simplechrome ARGUMENTS`, send the signal once stderr has `text`; code and stderr."""
    program = Path(sys.executable).with_name("simplechrome")
    lines = []
    with subprocess.Popen(
        [program, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
        # A shell has its background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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


def test_interrupted_vae_leaves_a_run_that_predicts(
    call: Call, workshop: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, err = signal_when(
        *("VAE epoch 3", signal.SIGINT, "fit", workshop / "one.zarr", "-o", run),
        *("--encoder", "vae", "--epochs", 10_000),
    )
    assert code == 130, err
    assert "keeping the best epoch so far" in err
    assert "Traceback" not in err
    assert 3 <= len(pd.read_csv(run / "history.csv")) < 10_000
    assert (run / "report.html").is_file()
    assert json.loads((run / "metrics.json").read_text())["interrupted"] is True
    assert "cut the training short" in (run / "report.html").read_text()
    code, _, err = call("predict", run, workshop / "one.zarr", "-o", tmp_path / "p.parquet")
    assert code == 0, err
    assert pd.read_parquet(tmp_path / "p.parquet")["probability"].between(0, 1).all()


def cut_in_third_epoch(patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes in the third step of the VAE: one batch makes an epoch of the training genes."""
    original = vae.elbo_loss
    steps = 0

    def elbo_loss(weight: float) -> Any:
        def loss(*arguments: Any) -> Any:
            nonlocal steps
            steps += arguments[0].training
            if steps == 3:
                steps += 1
                raise KeyboardInterrupt
            return original(weight)(*arguments)

        return loss

    patch.setattr(vae, "elbo_loss", elbo_loss)


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("predictor", ["linear", "mlp"])
def test_run_cut_short_is_trained_to_its_end(
    call: Call,
    workshop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Callable,
    predictor: str,
) -> None:
    fit = ["fit", workshop / "one.zarr", "--encoder", "vae", "--epochs", "4", "--threads", "1"]
    config = tmp_path / "small.toml"  # a network that is trained in a moment
    config.write_text(
        "[predictor]\nname = 'mlp'\nhidden = [4]\nepochs = 2\nearly_stopping = false\n"
    )
    fit += ["--predictor", predictor, "--labels", "60", "--config", config]
    assert call(*fit, "-o", tmp_path / "undisturbed")[0] == 0
    with monkeypatch.context() as patch:
        cut_in_third_epoch(patch)
        assert call(*fit, "-o", tmp_path / "run")[0] == 130
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 2
    code, _, err = call(*fit, "-o", tmp_path / "run", "--resume")
    assert (code, "was cut short by Ctrl-C" in err) == (0, True), err
    ended, undisturbed = contents(tmp_path / "run"), contents(tmp_path / "undisturbed")
    for files in (ended, undisturbed):
        del files["environment.json"]  # says where the output was to go
    assert ended == undisturbed


MLP = ["--encoder", "log_means", "--predictor", "mlp", "--labels", "60"]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Ctrl-C comes in this batch of the predictor's training."""
    original = network.supervised_loss
    done = 0

    def supervised_loss(task: str) -> Any:
        loss = original(task)

        def interrupted(module: Any, rows: Any, warmth: float) -> Any:
            nonlocal done
            done += module.training
            if done == batch and module.training:
                raise KeyboardInterrupt
            return loss(module, rows, warmth)

        return interrupted

    monkeypatch.setattr(network, "supervised_loss", supervised_loss)


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("batch", [1, 60])
def test_interrupted_predictor_leaves_a_run_that_predicts(
    call: Call, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    run = tmp_path / "run"
    interrupt_at(monkeypatch, batch)
    code, _, err = call("fit", workshop / "one.zarr", "-o", run, *MLP)
    assert code == 130, err
    assert (run / "metrics.json").is_file()
    assert call("predict", run, workshop / "one.zarr", "-o", tmp_path / "p.parquet")[0] == 0


def stop(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("no_drawing")
def test_interrupt_without_a_predictor_is_resumed(
    call: Call, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = ["fit", workshop / "one.zarr", "-o", tmp_path / "run"]
    vae = ["--encoder", "vae", "--epochs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(LinearPredictor, "_fit_rows", stop)
        code, out, err = call(*fit, *vae)
    assert (code, out, err.splitlines()[-1]) == (130, "", "Interrupted.")
    assert "checkpoints of 2 epochs of the encoder" in err
    assert "--resume" in err
    code, _, err = call(
        "predict", tmp_path / "run", workshop / "one.zarr", "-o", tmp_path / "p.parquet"
    )
    assert (code, "is not finished" in err, "--resume" in err) == (1, True, True)
    code, _, err = call(*fit, *vae)
    assert (code, "--resume" in err, "--overwrite" in err) == (1, True, True)
    code, _, err = call(*fit, "--resume", "--epochs", "5")
    assert (code, "encoder.epochs: begun with 2, now 5" in err) == (1, True)
    code, out, err = call(*fit, "--resume")  # the options are those that it began with
    assert (code, "AUROC" in out) == (0, True), err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    code, again, err = call(*fit, "--resume")
    assert (code, again, "nothing to resume" in err) == (0, out, True)


def test_interrupt_in_the_first_epoch_leaves_nothing(
    call: Call, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simplechrome.latent.vae.elbo_loss", lambda weight: stop)
    run = tmp_path / "run"
    code, out, err = call("fit", workshop / "one.zarr", "-o", run, "--encoder", "vae")
    assert (code, out, err.splitlines()[-1]) == (130, "", "Interrupted.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_drawing")
def test_replacement_cut_short_spares_the_old_run_and_can_go_on(
    call: Call, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Callable
) -> None:
    run = tmp_path / "run"
    fit = ["fit", workshop / "one.zarr", "-o", run]
    assert call(*fit, "--encoder", "log_means")[0] == 0
    before = contents(run)
    with monkeypatch.context() as patch:
        cut_in_third_epoch(patch)
        assert (
            call(*fit, "--encoder", "vae", "--epochs", "4", "--seed", "5", "--overwrite")[0] == 130
        )
    assert contents(run) == before
    code, _, err = call(*fit, "--resume", "--overwrite")  # the options are those it began with
    assert code == 0, err
    assert "seed = 5" in (run / "config.toml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("no_drawing")
def test_dataset_in_the_output_is_not_overwritten(
    call: Call, workshop: Path, tmp_path: Path
) -> None:
    shutil.copytree(workshop / "one.zarr", tmp_path / "run" / "demo.zarr")
    code, _, err = call(
        "fit", tmp_path / "run" / "demo.zarr", "-o", tmp_path / "run", "--overwrite"
    )
    assert (code, "and is not overwritten" in err) == (1, True)
    assert (tmp_path / "run" / "demo.zarr" / "zarr.json").is_file()


def test_interrupted_table_is_not_left_half_written(
    call: Call, finished: Path, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyarrow.parquet.write_table", stop)
    output = tmp_path / "p.parquet"
    assert call("predict", finished, workshop / "one.zarr", "-o", output)[0] == 130
    assert list(tmp_path.iterdir()) == []


# Builds


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cell types of 40 genes in five bins, with a gene table."""
    folder = tmp_path_factory.mktemp("three") / "layout"
    write_deepchrome_layout(simulate(40, 3, n_bins=5, bin_size=2000, seed=1), folder)
    return folder


def build(layout: Path, output: Path) -> list[object]:
    genes = layout / "genes.tsv.gz"
    return ["build", "deepchrome", layout / "data", "-o", output, "--genes", genes]


def test_killed_build_is_resumed_to_the_same_bytes(
    call: Call, layout: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    output = tmp_path / "new" / "roadmap.zarr"
    code, _ = signal_when("SIM002:", signal.SIGKILL, *build(layout, output))
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
    signal_when("SIM002:", signal.SIGKILL, *arguments)
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

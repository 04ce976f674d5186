"""Wrong input: one clear message, a non-zero exit code, and nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

# (arguments, what the message must say). {w} is the folder of inputs, {o} the empty folder that
# the command runs beside and must leave empty, {run} a finished run.
FIT = "fit {w}/one.zarr -o {o}/run --encoder log_means"
WRONG = {
    "no such dataset": ("inspect {w}/nowhere.zarr", "There is no dataset at"),
    "file instead of a dataset": ("inspect {w}/notes.txt", "is not a SimpleChrome dataset"),
    "folder that is no dataset": ("inspect {w}/folder", "it has no zarr.json"),
    "fit: no such dataset": ("fit {w}/nowhere.zarr -o {o}/run", "There is no dataset at"),
    "no genes' places": ("fit {w}/unplaced.zarr -o {o}/run", "no places of genes"),
    "no labels": ("fit {w}/unlabelled.zarr -o {o}/run", "genes has a label"),
    "no expression": (
        "fit {w}/unlabelled.zarr -o {o}/run --task regression",
        "has a finite expression",
    ),
    "no label asked for": (FIT + " --labels 0", "the value of --labels is invalid: found '0'"),
    "labels that are no number": (
        FIT + " --labels many",
        "the value of --labels is invalid: found 'many'",
    ),
    "misspelt chromosome": (FIT + " --test-chroms chr1,chrl", "No gene lies on chrl"),
    "chromosome in two parts": (FIT + " --test-chroms chr2", "test and validation: chr2"),
    "no chromosome to test": (FIT + " --test-chroms ,", "no gene for test"),
    "no such fold": (FIT + " --fold 9", "There is no fold 9"),
    "no published split": (
        "fit {w}/unplaced.zarr -o {o}/run --split published",
        "does not hold the published split",
    ),
    "negative seed": (FIT + " --seed -1", "the value of --seed is invalid: found -1"),
    "no threads": (FIT + " --threads 0", "the value of --threads is invalid: found 0"),
    "option of another encoder": (FIT + " --epochs 3", "--epochs does not apply to the encoder"),
    "too many components": (
        "fit {w}/one.zarr -o {o}/run --encoder pca --n-latent 5000",
        "PCA cannot make n_latent = 5000 latents",
    ),
    "unknown encoder": ("fit {w}/one.zarr -o {o}/run --encoder umap", "Invalid value"),
    "unknown option": ("fit {w}/one.zarr -o {o}/run --epohcs 3", "No such option"),
    "unknown verb": ("train {w}/one.zarr", "No such command 'train'"),
    "no output": ("fit {w}/one.zarr", "Missing option '-o'"),
    "no such configuration": (FIT + " --config {w}/nowhere.toml", "cannot be read"),
    "configuration that is a folder": (FIT + " --config {w}/folder", "cannot be read"),
    "configuration that is no TOML": (FIT + " --config {w}/notes.txt", "is not a TOML file"),
    "output beneath a file": (
        "fit {w}/one.zarr -o {w}/notes.txt/run --encoder log_means",
        "notes.txt is a file",
    ),
    "output that is a file": ("fit {w}/one.zarr -o {w}/notes.txt", "exists already"),
    "overwriting what is no run": (
        "fit {w}/one.zarr -o {w}/folder --overwrite",
        "is not a run folder and is not overwritten",
    ),
    "overwriting a file": (
        "fit {w}/one.zarr -o {w}/notes.txt --overwrite",
        "is not a run folder and is not overwritten",
    ),
    "no such run": ("predict {o}/nowhere {w}/one.zarr -o {o}/p.csv", "There is no run folder"),
    "folder that is no run": ("predict {w}/folder {w}/one.zarr -o {o}/p.csv", "finished run"),
    "marks of another model": (
        "predict {run} {w}/other_marks.zarr -o {o}/p.csv",
        "have none of the model's marks",
    ),
    "windows of another model": (
        "predict {run} {w}/other_bins.zarr -o {o}/p.csv",
        "those of the model",
    ),
    "table without a format": (
        "predict {run} {w}/one.zarr -o {o}/p.xlsx",
        "The format of the table",
    ),
    "encode: table without a format": (
        "encode {run} {w}/one.zarr -o {o}/latents",
        "The format of the table",
    ),
    "table over a dataset": ("encode {run} {w}/one.zarr -o {w}/one.zarr", "exists already"),
    "merge: no such dataset": ("merge {w}/one.zarr {o}/x.zarr -o {o}/y.zarr", "no dataset at"),
    "merge: twice the same": ("merge {w}/one.zarr {w}/one.zarr -o {o}/y.zarr", "SIM001"),
    "build: no such folder": ("build deepchrome {o}/x -o {o}/y.zarr", "{o}/x"),
    "build: folder without the layout": ("build deepchrome {w}/folder -o {o}/y.zarr", "folder"),
    "build: no such cell type": (
        "build deepchrome {w}/layout --cell-type E999 -o {o}/y.zarr",
        "E999",
    ),
    "build: no such gene table": (
        "build deepchrome {w}/layout --genes {o}/genes.tsv -o {o}/y.zarr",
        "genes.tsv",
    ),
    "build: gene table that is none": (
        "build deepchrome {w}/layout --genes {w}/notes.txt -o {o}/y.zarr",
        "notes.txt",
    ),
    "build: expression that is none": (
        "build deepchrome {w}/layout --expression {w}/notes.txt -o {o}/y.zarr",
        "notes.txt",
    ),
    "build: unknown label rule": (
        "build deepchrome {w}/layout --expression {w}/layout/expression.tsv.gz "
        "--label-rule best -o {o}/y.zarr",
        "best",
    ),
    "build: text as arrays": ("build arrays {w}/notes.txt -o {o}/y.zarr", "notes.txt"),
    "build: output exists": ("build deepchrome {w}/layout -o {w}/one.zarr", "exists already"),
}


def messages(err: str) -> int:
    return len(re.findall(r"^\w*Error: ", err, flags=re.MULTILINE))


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_message(
    what: str, call: Call, workshop: Path, finished: Path, tmp_path: Path, contents: Callable
) -> None:
    arguments, message = WRONG[what]
    places = {"w": workshop, "o": tmp_path, "run": finished}
    inputs = contents(workshop)
    code, out, err = call(*(part.format(**places) for part in arguments.split()))
    assert code in (1, 2)
    assert out == ""
    assert message.format(**places) in err
    assert "Traceback" not in err
    assert messages(err) == 1
    assert list(tmp_path.iterdir()) == []
    assert contents(workshop) == inputs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "there is no option `speed`"),
        ("[predictor]\nname = 'linear'\nCs = [0.0]", "Cs.0` is invalid"),
        ("[encoder]\nname = 'vae'\nkernel = 4", "VAE's sizes are invalid"),
        ("[encoder]\nname = 'vae'\nchannels = []", "VAE's sizes are invalid"),
        ("[encoder]\nname = 'log_means'\nn_regions = 99", "n_regions is 99, and the window has"),
        ("[split]\nkind = 'random'\ntest_share = 0.9", "random split with fractions"),
    ],
)
def test_wrong_configuration_is_one_message(
    call: Call, workshop: Path, tmp_path: Path, text: str, message: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    code, out, err = call("fit", workshop / "one.zarr", "-o", tmp_path / "run", "--config", config)
    assert (code, out) == (1, "")
    assert message in err
    assert messages(err) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("split.parquet", "no split.parquet"),
        ("encoder/model.json", "not a whole saved model"),
        ("predictor/model.safetensors", "not a whole saved model"),
    ],
)
def test_incomplete_run_is_one_message(
    call: Call, finished: Path, workshop: Path, tmp_path: Path, name: str, message: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    code, out, err = call("predict", run, workshop / "one.zarr", "-o", tmp_path / "out.parquet")
    assert (code, out) == (1, "")
    assert message in err
    assert messages(err) == 1
    assert not (tmp_path / "out.parquet").exists()


def test_newer_model_is_one_message(
    call: Call, finished: Path, workshop: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / "encoder" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_version": 99}))
    code, _, err = call("predict", run, workshop / "one.zarr", "-o", tmp_path / "p.csv")
    assert (code, "newer version of SimpleChrome" in err) == (1, True)


def test_verbose_shows_the_traceback_to_those_who_ask(call: Call, tmp_path: Path) -> None:
    from simplechrome.errors import MissingInputError

    with pytest.raises(MissingInputError):
        call("inspect", tmp_path / "nothing.zarr", "-v")

"""The whole way on the command line, from files to predictions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import simplechrome
from simplechrome.runs.load import load_run

Call = Callable[..., tuple[int, str, str]]
VERBS = (
    *("demo", "build", "merge", "neighbors", "inspect", "fit", "encode", "predict"),
    *("impute", "interpret", "benchmark"),
)


def test_from_files_to_predictions(call: Call, workshop: Path, tmp_path: Path) -> None:
    """build twice, merge, inspect, fit, and predict and encode with a moved copy of the run."""
    layout = workshop / "layout"
    tables = ["--genes", layout / "genes.tsv.gz", "--expression", layout / "expression.tsv.gz"]
    same = [*tables, "--bin-size", "500", "--assembly", "none"]
    one, two, both = (tmp_path / f"{name}.zarr" for name in ("one", "two", "both"))

    code, out, _ = call("build", "deepchrome", layout, "-o", one, *same)
    assert (code, out) == (0, f"{one}: 1 cell types, 300 genes, 20 bins, 5 marks\n")
    code, out, _ = call("build", "arrays", layout / "counts" / "SIM002.npz", "-o", two, *same)
    assert (code, out) == (0, f"{two}: 1 cell types, 300 genes, 20 bins, 3 marks\n")
    code, out, _ = call("merge", one, two, "-o", both)
    assert (code, out.split(": ")[1]) == (
        0,
        "2 cell types, 300 genes, 5 marks, 2 of 10 tracks missing\n",
    )

    code, out, _ = call("inspect", both, "--json")
    description = json.loads(out)
    assert description["sizes"] == {"cell_type": 2, "gene": 300, "bin": 20, "mark": 5}
    assert not description["cell_types"]["SIM002"]["marks"]["H3K4me1"]["present"]
    code, out, _ = call("inspect", both)
    assert (code, "SIM002" in out, "H3K4me1 –" in out) == (0, True, True)

    run, moved = tmp_path / "run", tmp_path / "elsewhere" / "copy"
    code, out, err = call("fit", both, "-o", run, "--encoder", "pca", "--n-latent", 4)
    assert code == 0, err
    assert (run / "report.html").stat().st_size > 100_000
    assert "test (" in out
    assert f"report: {run / 'report.html'}" in out
    shutil.copytree(run, moved)
    shutil.rmtree(run)
    code, out, _ = call("predict", moved, both, "-o", tmp_path / "new" / "predictions.parquet")
    assert (code, "600 predictions" in out) == (0, True)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "new" / "predictions.parquet"),
        pd.read_parquet(moved / "predictions.parquet"),
    )
    code, out, _ = call("encode", moved, both, "-o", tmp_path / "latents.parquet")
    assert (code, "600 rows" in out) == (0, True)
    latents = pd.read_parquet(tmp_path / "latents.parquet")
    assert latents.columns.tolist()[-4:] == ["pc_1", "pc_2", "pc_3", "pc_4"]


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("encoder", "predictor", "task"),
    [
        ("vae", "mlp", "regression"),
        ("log_means", "mlp", "classification"),
        ("none", "linear", "regression"),
    ],
)
def test_configuration_of_a_run_repeats_it(
    encoder: str, predictor: str, task: str, call: Call, workshop: Path, tmp_path: Path
) -> None:
    """With few labels and with all; the result is bit-identical."""
    config = tmp_path / "small.toml"
    lines = [f"task = '{task}'", "seed = 3", "device = 'cpu'"]
    if predictor == "mlp":
        lines += ["labels = 40", "[predictor]", "name = 'mlp'", "hidden = [4]", "epochs = 2"]
    lines += ["[encoder]", f"name = '{encoder}'"]
    if encoder == "vae":
        lines += ["n_latent = 2", "epochs = 2", "channels = [3, 3]", "hidden = 4"]
    config.write_text("\n".join(lines))
    run, again = tmp_path / "run", tmp_path / "again"

    code, _, err = call("fit", workshop / "one.zarr", "-o", run, "--config", config, "-q")
    assert (code, err) == (0, "")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["task"] == task
    assert (run / "history.csv").exists() == (encoder == "vae" or predictor == "mlp")

    whole = run / "config.toml"
    assert call("fit", workshop / "one.zarr", "-o", again, "--config", whole, "-q")[0] == 0
    for name in ("config.toml", "predictions.parquet", "metrics.json", "split.parquet"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.usefixtures("no_drawing")
def test_options_win_over_the_configuration(
    call: Call, finished: Path, workshop: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--labels", "all", "--seed", 7, "--test-chroms", "chr3, 4", "--n-latent", 2]
    more = ["--exclude-chroms", "chrX,chrM"]
    config = finished / "config.toml"
    code, out, _ = call(
        "fit", workshop / "one.zarr", "-o", run, "--config", config, *options, *more
    )
    assert (code, "seed 7" in out) == (0, True)
    table = pd.read_parquet(run / "predictions.parquet")
    assert set(table.loc[table["split"] == "test", "chrom"]) == {"chr3", "chr4"}
    assert set(table.loc[table["split"] == "excluded", "chrom"]) == {"chrX"}
    assert json.loads((run / "metrics.json").read_text())["n_labels"] > 60


def test_inspect_writes_a_page_on_request(call: Call, workshop: Path, tmp_path: Path) -> None:
    page = tmp_path / "quality.html"
    code, out, _ = call("inspect", workshop / "one.zarr", "-o", page)
    assert (code, out.splitlines()[-1]) == (0, f"page: {page}")
    assert "Every track in numbers" in page.read_text()
    code, out, err = call("inspect", workshop / "one.zarr", "-o", page, "--json")
    assert (code, out) == (1, "")
    assert "exists already" in err
    code, out, _ = call("inspect", workshop / "one.zarr", "-o", page, "--json", "--overwrite")
    assert (code, json.loads(out)["likely_swaps"]) == (0, [])
    code, _, err = call("inspect", workshop / "one.zarr", "-o", tmp_path / "quality")
    assert (code, "format of the page" in err) == (1, True)


@pytest.mark.parametrize("verb", ["predict", "encode"])
def test_signal_in_other_units_is_refused_or_matched(
    call: Call, finished: Path, workshop: Path, tmp_path: Path, verb: str
) -> None:
    dataset = simplechrome.open_dataset(workshop / "one.zarr")
    dataset["signal"].attrs["units"] = "fold_change"
    simplechrome.save_dataset(dataset, tmp_path / "fold.zarr")
    arguments = [verb, finished, tmp_path / "fold.zarr", "-o", tmp_path / "table.parquet"]
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert "The signal is in fold_change, and the model was fitted on reads" in err
    assert not (tmp_path / "table.parquet").exists()
    code, _, err = call(*arguments, "--match-distribution")
    assert (code, "! The values of 5 tracks were replaced" in err) == (0, True)
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert table["signal_changed"].str.startswith("H3K27me3 matched, ").all()


@pytest.mark.usefixtures("no_drawing")
def test_ensemble_and_coverage_reach_predictions_and_metrics(
    call: Call, workshop: Path, tmp_path: Path
) -> None:
    run, output = tmp_path / "run", tmp_path / "p.csv"
    config = tmp_path / "small.toml"
    config.write_text("[predictor]\nname = 'mlp'\nhidden = [4]\nepochs = 2\n")
    options = ["--encoder", "log_means", "--ensemble", 2, "--coverage", 0.8, "--config", config]
    code, out, err = call("fit", workshop / "one.zarr", "-o", run, *options)
    assert code == 0, err
    assert "ensemble of 2" in out
    assert "label sets with nominal coverage 80 %" in out
    assert ", coverage " in out.splitlines()[-2]
    code, _, err = call("predict", run, workshop / "one.zarr", "-o", output)
    assert code == 0, err
    assert "lie inside their label sets (nominal: 80 %)" in err
    table = pd.read_csv(output)
    assert {"uncalibrated_probability", "ensemble_sd", "label_set"} <= set(table.columns)
    code, _, err = call("fit", workshop / "one.zarr", "-o", run, "--coverage", 90, "--overwrite")
    assert (code, "--coverage is invalid: found 90.0" in err) == (1, True)


def test_unlabelled_data_can_be_predicted(
    call: Call, finished: Path, workshop: Path, tmp_path: Path
) -> None:
    output = tmp_path / "p.parquet"
    assert call("predict", finished, workshop / "unlabelled.zarr", "-o", output)[0] == 0
    table = pd.read_parquet(output)
    assert (table["label"] == -1).all()
    known = pd.read_parquet(finished / "predictions.parquet")
    assert (table["probability"] == known["probability"]).all()


def test_predictions_are_scored_where_expression_is_known(
    call: Call, finished: Path, workshop: Path, tmp_path: Path
) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())["test"]
    output, page = tmp_path / "p.tsv", tmp_path / "p.html"
    code, out, _ = call("predict", finished, workshop / "one.zarr", "-o", output, "--report", page)
    assert code == 0
    genes = f"genes that the run did not learn from ({metrics['n_genes']} genes)"
    assert f"{genes}: AUROC {metrics['auroc']:.4f}" in out
    text = page.read_text(encoding="utf-8")
    assert f"{metrics['auroc']:.3f}" in text
    assert "Against what was measured" in text
    assert f"simplechrome predict {finished.name} one.zarr -o p.tsv --report p.html" in text
    unlabelled = tmp_path / "unlabelled.html"
    data = workshop / "unlabelled.zarr"
    code, out, _ = call("predict", finished, data, "-o", tmp_path / "u.tsv", "--report", unlabelled)
    assert (code, "AUROC" in out) == (0, False)
    assert "Against what was measured" not in unlabelled.read_text(encoding="utf-8")


def test_page_is_not_written_over_another_file(
    call: Call, finished: Path, workshop: Path, tmp_path: Path
) -> None:
    predict = ("predict", finished, workshop / "one.zarr", "-o", tmp_path / "p.tsv", "--report")
    code, _, err = call(*predict, tmp_path / "p.pdf")
    assert (code, "end its name in .html" in err) == (1, True)
    (tmp_path / "p.html").write_text("mine")
    code, _, err = call(*predict, tmp_path / "p.html")
    assert (code, (tmp_path / "p.html").read_text()) == (1, "mine")
    assert not (tmp_path / "p.tsv").exists()


def test_marks_can_be_chosen(call: Call, workshop: Path, tmp_path: Path) -> None:
    fit = ("fit", workshop / "one.zarr", "-o", tmp_path / "run", "--encoder", "log_means")
    code, _, err = call(*fit, "--mark", "H3K4me3", "--mark", "H3K27me3")
    assert code == 0, err
    assert load_run(tmp_path / "run").encoder.marks_ == ["H3K4me3", "H3K27me3"]
    code, _, err = call(*fit, "--mark", "H3K4me9", "--overwrite")
    assert (code, "has no mark 'H3K4me9'" in err) == (1, True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(call: Call, verb: str) -> None:
    arguments = [verb, "--help"] if verb != "build" else ["build", "arrays", "--help"]
    code, out, _ = call(*arguments)
    assert code == 0
    assert "Example" in out
    assert f"simplechrome {verb}" in out


def test_help_lists_the_verbs_in_the_order_of_the_work(call: Call) -> None:
    code, out, _ = call("--help")
    places = [out.index(f"\n  {verb} ") for verb in VERBS]
    assert (code, places) == (0, sorted(places))


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"simplechrome, version {simplechrome.__version__}\n", "")


def test_results_go_to_stdout_and_talk_to_stderr(
    call: Call, workshop: Path, tmp_path: Path
) -> None:
    quiet = call(
        *("build", "arrays", workshop / "layout" / "counts" / "SIM002.npz"),
        *("-o", tmp_path / "quiet.zarr", "-qq"),
    )
    assert (quiet[0], quiet[1].count("\n"), quiet[2]) == (0, 1, "")
    loud = call(
        *("build", "arrays", workshop / "layout" / "counts" / "SIM002.npz"),
        *("-o", tmp_path / "loud.zarr"),
    )
    assert loud[1].count("\n") == 1
    assert "! Without a gene table" in loud[2]


def test_demo_hands_its_options_on_and_prints_the_table(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo itself takes half a minute: `make demo` runs it."""
    asked: dict[str, object] = {}

    def run_demo(folder: str, **options: object) -> SimpleNamespace:
        asked.update(options, folder=folder)
        table = pd.DataFrame({"representation": ["PCA"], "50 labels": [0.91234]})
        return SimpleNamespace(report="the report", table=table)

    monkeypatch.setattr("simplechrome.report.demo.run_demo", run_demo)
    code, out, _ = call("demo", "-o", tmp_path, "--genes", 300, "--seed", 4, "--overwrite")
    assert code == 0
    assert asked == {"folder": str(tmp_path), "n_genes": 300, "seed": 4, "overwrite": True}
    assert "simulated" in out
    assert "PCA     0.9123" in out
    assert "report: the report" in out


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, as in a user's shell."""
    program = Path(sys.executable).with_name("simplechrome")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_installed_command_answers(workshop: Path) -> None:
    done = command("inspect", workshop / "one.zarr", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sizes"]["gene"] == 300


def test_reader_that_has_seen_enough_is_no_error(workshop: Path) -> None:
    program = Path(sys.executable).with_name("simplechrome")
    # Either the program has written all before the reader ends, or it stops quietly.
    done = subprocess.run(
        f"'{program}' inspect '{workshop / 'one.zarr'}' | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1)
    assert done.stderr == ""

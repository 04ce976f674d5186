"""What the page for users of the original code shows must run, and what it names must be there."""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path

import click
import pytest
from page_examples import read_page, run_commands, run_python, write_published_files

from simplechrome.cli.main import cli

PAGE = "docs/reference/compatibility.md"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page speaks of, simulated and small."""
    folder = tmp_path_factory.mktemp("compatibility")
    write_published_files(folder, "E100", n_genes=300)
    return folder


def test_python_example_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    names = run_python(PAGE)
    assert list(names["scores"]) == ["MLP", "MLP_Encoded"]
    assert all(0 <= scores["auroc"] <= 1 for scores in names["scores"].values())
    assert names["window"].shape == (1, 100, 5)
    assert names["neighbors"].windows.shape == (1, 20, 100, 5)
    # The line that the table gives for the label of one gene.
    dataset, gene_id = names["dataset"], names["gene_id"]
    assert dataset.label[:, (dataset.gene_id == gene_id).values].shape == (1, 1)


def test_commands_run_one_after_the_other(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    run_commands(PAGE)
    for run in ("runs/mlp", "runs/mlp_encoded"):
        metrics = json.loads((desk / run / "metrics.json").read_text())
        assert {"accuracy", "auprc", "auroc"} <= set(metrics["test"])


def test_every_python_name_is_there() -> None:
    named = set(re.findall(r"`[^`]*?\b(simplechrome(?:\.[A-Za-z_]\w*)+)", read_page(PAGE)))
    assert len(named) > 20
    for name in named:
        package, _, attributes = name.partition(".")
        pkgutil.resolve_name(f"{package}.{attributes}")


def test_every_command_and_option_is_there() -> None:
    context = click.Context(cli)
    commands = re.findall(
        r"(?:`|^)simplechrome ([a-z]+)(?: ([a-z]+))?([^`\n]*)", read_page(PAGE), re.M
    )
    verbs = set()
    for verb, layout, rest in commands:
        command = cli.get_command(context, verb)
        assert command is not None, verb
        if isinstance(command, click.Group):
            command = command.get_command(context, layout)
            assert command is not None, layout
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, verb
        verbs.add(verb)
    assert verbs == {"build", "download", "encode", "fit", "predict"}

"""The quality page and its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.signal import correlation_figure, coverage_figure
from simplechrome.report.figures.style import inline_svg
from simplechrome.report.page import shown_command
from simplechrome.report.quality_page import write_quality_page

MARKS = ["H3K4me3", "H3K9me3"]


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return simulated_dataset(200, 2, missing_marks={"SIM002": ["H3K4me1"]}, note="simulated data")


def test_coverage_writes_shares_and_hatches_what_is_missing() -> None:
    figure = coverage_figure([[1, 0.5], [0.9999, 0]], [[1, 1], [1, 0]], ["A", "B"], MARKS)
    svg = inline_svg(figure, "f", "coverage")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["100 %", "50.0 %", "99.9 %"]
    assert "hatched: not assayed" in svg


def test_tracks_of_a_mark_stand_side_by_side() -> None:
    tracks = [("A", "H3K9me3"), ("A", "H3K4me3"), ("B", "H3K9me3")]
    values = np.array([[1, -0.25, 0.5], [-0.25, 1, 0.001], [0.5, 0.001, 1]])
    axes = correlation_figure(values, tracks, MARKS).axes[0]
    named = [label.get_text() for label in axes.get_yticklabels()]
    assert named == ["A H3K4me3", "A H3K9me3", "B H3K9me3"]
    # Row by row, the diagonal left out.
    assert [text.get_text() for text in axes.texts] == ["−.25", "0", "−.25", ".50", "0", ".50"]


def test_of_many_tracks_the_marks_are_named() -> None:
    tracks = [(f"C{k}", MARKS[k % 2]) for k in range(40)]
    axes = correlation_figure(np.eye(40), tracks, MARKS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == MARKS


@pytest.mark.parametrize(
    "draw",
    [
        lambda: coverage_figure([[1]], [[1]], ["A"], MARKS),
        lambda: coverage_figure(np.empty((0, 2)), np.empty((0, 2)), [], MARKS),
        lambda: correlation_figure(np.eye(2), [("A", "H3K4me3")], MARKS),
        lambda: correlation_figure(np.empty((0, 0)), [], MARKS),
    ],
)
def test_shapes_that_disagree_are_refused(draw: Callable[[], object]) -> None:
    with pytest.raises(InputFormatError, match="none of them 0"):
        draw()


def test_page_holds_advice_table_and_figures(dataset: xr.Dataset, tmp_path: Path) -> None:
    bad = dataset.copy(deep=True)
    bad["observed"].values[0, :100, 0] = 0
    path = write_quality_page(bad, tmp_path / "q.html", name="mine.zarr", command="do it")
    text = path.read_text()
    for said in (
        *("mine.zarr: what is in it", "simulated data.", "do it"),
        "SIM001 H3K27me3: windows without any data (down to 50% have some)",
        "H3K4me1 is in one cell type only",
        *("Every track in numbers", "How much of the windows has data"),
        *("SIM002: where each mark lies in high and low genes", "Which tracks are alike"),
    ):
        assert said in text
    assert "http-equiv" not in text
    first = path.read_bytes()
    assert write_quality_page(bad, path, name="mine.zarr", command="do it").read_bytes() == first


def test_page_of_a_single_track_without_labels(dataset: xr.Dataset, tmp_path: Path) -> None:
    one = dataset.isel(cell_type=[0], mark=[3]).copy(deep=True)
    one["label"].values[:] = -1
    text = write_quality_page(one, tmp_path / "q.html").read_text()
    assert "has no labels" in text
    assert "Which tracks are alike" not in text
    assert "has data on all of its bases" in text


def test_command_is_without_the_folders_of_one_machine() -> None:
    command = shown_command(["/bin/simplechrome", "inspect", "/a/my data.zarr", "-o", "/c/q.html"])
    assert command == "simplechrome inspect 'my data.zarr' -o q.html"

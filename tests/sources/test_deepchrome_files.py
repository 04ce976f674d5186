"""Where cell types are found: folders, links, archives whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deepchrome_layout import layout, members, read_one, rows, text, write_archive, write_folder

from simplechrome.errors import (
    InputFormatError,
    MissingInputError,
    SimpleChromeError,
    UnknownGeneError,
)
from simplechrome.sources.deepchrome import read_deepchrome
from simplechrome.sources.deepchrome_files import list_cell_types


def store(tmp_path: Path, cell_types: dict[str, dict[str, str]], packed: bool) -> Path:
    if packed:
        return write_archive(tmp_path / "data.tar.gz", members(cell_types))
    return write_folder(tmp_path / "data", cell_types)


@pytest.mark.parametrize("below", ["", "E001", "E001/classification"])
def test_folder_of_cell_types_cell_type_and_classification_all_work(
    tmp_path: Path, below: str
) -> None:
    root = write_folder(tmp_path / "any" / "data", {"E001": layout()}) / below
    assert list_cell_types(root) == ["E001"]
    counts = read_one(root)
    assert counts.cell_type == "E001"
    assert counts.sources[0]["name"].endswith("E001/classification/train.csv")


@pytest.mark.parametrize("prefix", ["data/", "", "./", "a/b/c/d/e/f/"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_archive_equals_folder(tmp_path: Path, prefix: str, suffix: str) -> None:
    both = {"E001": layout(), "E002": layout(test=text(rows([5])))}
    folder = list(read_deepchrome(write_folder(tmp_path / "data", both)))
    path = write_archive(tmp_path / f"any{suffix}", members(both, prefix))
    assert list_cell_types(path) == ["E001", "E002"]
    for one, other in zip(read_deepchrome(path), folder, strict=True):
        assert one.cell_type == other.cell_type
        assert one.gene_id.tolist() == other.gene_id.tolist()
        assert one.counts.tolist() == other.counts.tolist()
        assert one.split.tolist() == other.split.tolist()
        assert [s["sha256"] for s in one.sources] == [s["sha256"] for s in other.sources]
        assert one.sources[0]["name"].startswith(f"any{suffix}:")


def test_archive_of_one_cell_types_inside_is_named_by_the_archive(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "E007.tar.gz",
        [(f"classification/{split}.csv", content) for split, content in layout().items()],
    )
    assert read_one(path).cell_type == "E007"


def test_cell_types_that_are_mixed_in_an_archive_are_sorted_out(tmp_path: Path) -> None:
    both = members({"E001": layout(), "E002": layout(test=text(rows([5])))})
    path = write_archive(tmp_path / "mixed.tar", sorted(both, key=lambda m: Path(m[0]).name))
    read = {counts.cell_type: counts.gene_id[-1][-1] for counts in read_deepchrome(path)}
    assert read == {"E001": "4", "E002": "5"}


@pytest.mark.parametrize("packed", [False, True])
def test_only_wanted_cell_types_are_read(tmp_path: Path, packed: bool) -> None:
    three = {"E001": layout(train="not,a,row\n"), "E002": layout(), "E003": layout(train="")}
    path = store(tmp_path, three, packed)
    assert [counts.cell_type for counts in read_deepchrome(path, ["E002", "E002"])] == ["E002"]
    assert [counts.cell_type for counts in read_deepchrome(path, "E002")] == ["E002"]


def test_one_cell_type_of_an_archive_is_read_without_reading_what_follows(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    tail = ("data/README", noise.tobytes().decode("latin-1"))
    path = write_archive(tmp_path / "d.tar.gz", [*members({"E001": layout()}), tail])
    path.write_bytes(path.read_bytes()[:-20_000])
    assert [counts.cell_type for counts in read_deepchrome(path, ["E001"])] == ["E001"]
    with pytest.raises(InputFormatError, match="damaged"):
        list(read_deepchrome(path))


def test_other_files_and_folders_of_the_layout_are_skipped(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"E001": layout()})
    (root / "E001" / "regression").mkdir()
    (root / "E001" / "regression" / "train.csv").write_text("x\n")
    (root / "E001" / "classification" / "._train.csv").write_text("x\n")
    assert read_one(root).counts.shape == (4, 3, 5)


def test_linked_cell_type_keeps_the_links_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", {"E001": layout()})
    root = tmp_path / "data"
    root.mkdir()
    (root / "H1").symlink_to(tmp_path / "real" / "E001")
    (root / "loop").symlink_to(root)
    assert list_cell_types(root) == ["H1"]
    assert read_one(root / "H1").cell_type == "H1"


@pytest.mark.parametrize("packed", [False, True])
def test_unknown_cell_type_is_an_error_that_lists_the_known(tmp_path: Path, packed: bool) -> None:
    path = store(tmp_path, {"E001": layout(), "E002": layout()}, packed)
    with pytest.raises(UnknownGeneError, match="cell type E999") as caught:
        list(read_deepchrome(path, ["E001", "E999"], on_bad_cell_type="skip"))
    assert "E001, E002" in str(caught.value)


def test_cell_type_found_twice_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "d" / "new", {"E001": layout()})
    write_folder(tmp_path / "d" / "old", {"E001": layout()})
    with pytest.raises(InputFormatError, match="holds E001 twice"):
        list_cell_types(tmp_path / "d")
    one = members({"E001": layout()})
    path = write_archive(tmp_path / "d.tar", one + members({"E001": layout()}, "old/"))
    with pytest.raises(InputFormatError, match="holds E001 twice"):
        list(read_deepchrome(path))
    path = write_archive(tmp_path / "e.tar", [one[0], one[0], *one[1:]])
    with pytest.raises(InputFormatError, match="holds E001 twice"):
        list(read_deepchrome(path))


def test_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    for call in (list_cell_types, lambda path: list(read_deepchrome(path))):
        with pytest.raises(MissingInputError, match="nowhere is not there"):
            call(tmp_path / "nowhere")


def test_folder_or_archive_without_the_layout_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("x")
    archive = write_archive(tmp_path / "d.tar", [("notes.txt", "x")])
    for path, message in ((tmp_path / "d", "notes.txt"), (archive, "1 members")):
        for call in (list_cell_types, lambda path: list(read_deepchrome(path))):
            with pytest.raises(InputFormatError, match="no cell type") as caught:
                call(path)
            assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"000001,1,0,0,0,0,0,1\n" * 100, b"PK\x03\x04" * 300])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match="neither a folder nor a tar archive"):
        list_cell_types(path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_archive_that_was_cut_off_never_passes_for_a_smaller_one(
    tmp_path: Path, suffix: str
) -> None:
    whole = write_archive(tmp_path / f"d{suffix}", members({"E001": layout(), "E002": layout()}))
    content = whole.read_bytes()
    # Six members of a header and a block each, then two empty blocks, then padding.
    end = len(content) if suffix == ".tar.gz" else (6 * 2 + 1) * 512
    for length in range(0, end, 3 if suffix == ".tar.gz" else 101):
        whole.write_bytes(content[:length])
        with pytest.raises(SimpleChromeError):
            list(read_deepchrome(whole))

"""Counts from .npz files: what is read, and that nothing broken passes for data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.arrays import read_arrays

# Gene g, bin b, mark m holds 100 g + 10 b + m.
COUNTS = np.array([[[100 * g + 10 * b + m for m in range(2)] for b in range(3)] for g in range(4)])
GENES = np.array(["ENSG00000000001", "ENSG00000000003", "ENSG00000000002", "ENSG00000000004"])
MARKS = np.array(["H3K4me3", "H3K27me3"])


def write(folder: Path, **changed: Any) -> Path:
    arrays = {"counts": COUNTS, "marks": MARKS, "gene_id": GENES} | changed
    path = folder / "E028.npz"
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def refusal(folder: Path, **changed: Any) -> str:
    with pytest.raises(InputFormatError) as caught:
        read_arrays(write(folder, **changed))
    assert "E028.npz" in str(caught.value)
    return str(caught.value)


def test_arrays_come_back_as_stored(tmp_path: Path) -> None:
    read = read_arrays(write(tmp_path))
    assert read.cell_type == "E028"
    assert read.marks == ("H3K4me3", "H3K27me3")
    assert read.gene_id.tolist() == GENES.tolist()
    assert read.counts.dtype == np.uint16
    assert read.counts.flags.c_contiguous
    assert read.counts.tolist() == COUNTS.tolist()
    assert read.sources[0]["name"] == "E028.npz"
    assert read.sources[0]["bytes"] == (tmp_path / "E028.npz").stat().st_size


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int64, ">i4"])
def test_whole_numbers_that_fit_become_uint16(tmp_path: Path, dtype: Any) -> None:
    read = read_arrays(write(tmp_path, counts=(COUNTS % 100).astype(dtype)))
    assert read.counts.dtype == np.uint16
    assert read.counts.tolist() == (COUNTS % 100).tolist()


@pytest.mark.parametrize("counts", [COUNTS + 65_535, COUNTS / 4])
def test_others_become_float32(tmp_path: Path, counts: np.ndarray) -> None:
    read = read_arrays(write(tmp_path, counts=counts))
    assert read.counts.dtype == np.float32
    assert read.counts.tolist() == counts.tolist()


def test_fortran_order_and_byte_strings_are_harmless(tmp_path: Path) -> None:
    read = read_arrays(
        write(tmp_path, counts=np.asfortranarray(COUNTS), marks=MARKS.astype("S"), extra=1)
    )
    assert read.counts.flags.c_contiguous
    assert read.counts.tolist() == COUNTS.tolist()
    assert read.marks == ("H3K4me3", "H3K27me3")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"marks": None}, "lacks marks"),
        ({"counts": None, "gene_id": None, "data": COUNTS}, "it holds marks, data"),
        ({"counts": COUNTS[0]}, "wrong number of dimensions"),
        ({"marks": MARKS[None]}, "marks (1, 2)"),
        ({"gene_id": GENES[:3]}, "shapes of the arrays do not fit"),
        ({"marks": np.array(["a", "b", "c"])}, "counts (4, 3, 2), marks (3,)"),
        ({"counts": COUNTS.transpose(0, 2, 1)}, "order of dimensions"),
        ({"counts": COUNTS[:, :0]}, "holds no counts"),
        ({"counts": COUNTS - 1}, "1 of 24 counts are negative, down to -1"),
        ({"counts": np.where(COUNTS == 101, np.nan, COUNTS)}, "not finite"),
        ({"counts": np.where(COUNTS == 101, np.inf, COUNTS)}, "1 of 24"),
        ({"counts": COUNTS * 1e38}, "float32 cannot hold"),
        ({"counts": COUNTS + 2**24}, "float32 cannot hold"),
        ({"counts": np.full((4, 3, 2), 2**64 - 1, dtype=np.uint64)}, "float32 cannot hold"),
        ({"counts": COUNTS.astype(str)}, "does not hold numbers"),
        ({"counts": COUNTS.astype(complex)}, "does not hold numbers"),
        ({"gene_id": np.array([1, 2, 3, 4])}, "gene_id does not hold text"),
        ({"gene_id": GENES[[0, 1, 0, 3]]}, "1 repeated names (ENSG00000000001)"),
        ({"marks": np.array(["a", "a"])}, "1 repeated names (a)"),
        ({"marks": np.array(["a", ""])}, "1 empty"),
        ({"gene_id": GENES.astype(object)}, "Python objects, which are never loaded"),
        ({"counts": COUNTS.astype(object)}, "Python objects, which are never loaded"),
    ],
)
def test_broken_arrays_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    assert message in refusal(tmp_path, **changed)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"E999\.npz does not exist"):
        read_arrays(tmp_path / "E999.npz")
    with pytest.raises(MissingInputError, match="is a folder"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\x93NUMPY\x01", "not a .npz"), (b"a,b\n", "not a")],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "E028.npz"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match=message):
        read_arrays(path)


def test_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    for length in range(0, len(content), 5):
        path.write_bytes(content[:length])
        with pytest.raises(InputFormatError):
            read_arrays(path)


def test_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    for place in range(0, len(content), 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            read = read_arrays(path)
        except SimpleChromeError:
            continue
        assert read.counts.tolist() == COUNTS.tolist()
        assert read.gene_id.tolist() == GENES.tolist()
        assert read.marks == tuple(MARKS.tolist())


@pytest.mark.real_data
def test_real_files_read_with_the_same_genes(shared_data: Path) -> None:
    files = sorted((shared_data / "roadmap_counts").glob("E*.npz"))
    read = [read_arrays(path) for path in files]
    assert len(read) == 19
    genes = read[0].gene_id.tolist()
    for one in read:
        assert one.gene_id.tolist() == genes
        assert one.counts.shape == (18421, 100, len(one.marks))
        assert one.counts.dtype == np.uint16
        assert 2 <= len(one.marks) <= 4

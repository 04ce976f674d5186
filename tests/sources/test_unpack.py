"""Only the expected CSVs come out of an archive; what an honest one would not hold ends it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import logging
import tarfile
from pathlib import Path

import pytest
from download_archives import csv, layout, member, tar, tar_gz, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplechrome.errors import InputFormatError, MissingInputError, OutputError, UnknownGeneError
from simplechrome.sources import tar_stream, unpack
from simplechrome.sources.unpack import Unpacked

GOOD = layout(["E003", "E012"])
TRAIN = "data/E003/classification/train.csv"


def take(data: bytes, tmp_path: Path, wanted: list[str] | None = None) -> Unpacked:
    """Unpack into a folder within `tmp_path`, so that what gets out of it is seen."""
    archive = tmp_path / "data.tar.gz"
    archive.write_bytes(data)
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    return unpack.unpack(archive, folder, wanted)


def test_each_csv_comes_out_with_its_checksum(tmp_path: Path) -> None:
    unpacked = take(tar_gz(GOOD), tmp_path)
    assert unpacked.in_archive == ["E003", "E012"]
    assert list(unpacked.files["E003"]) == ["train", "valid", "test"]
    file = unpacked.files["E012"]["valid"]
    assert file.path == tmp_path / "in" / "here" / "E012" / "valid.csv"
    assert file.path.read_bytes() == csv("E012", "valid")
    assert (file.size, file.sha256) == (
        len(csv("E012", "valid")),
        hashlib.sha256(csv("E012", "valid")).hexdigest(),
    )


def test_only_wanted_cell_types_are_written_and_all_are_named(tmp_path: Path) -> None:
    unpacked = take(tar_gz(GOOD), tmp_path, ["E012"])
    assert list(unpacked.files) == ["E012"]
    assert unpacked.in_archive == ["E003", "E012"]
    assert sorted(tree(tmp_path / "in")) == [
        f"here/E012/{s}.csv" for s in ("test", "train", "valid")
    ]


@pytest.mark.parametrize("prefix", ["", "./", "./data/", "a/b-c/roadmap.v1/"])
def test_prefix_of_the_layout_does_not_matter(tmp_path: Path, prefix: str) -> None:
    files = {prefix + name.removeprefix("data/"): data for name, data in GOOD.items()}
    assert take(tar_gz(files), tmp_path).in_archive == ["E003", "E012"]


@pytest.mark.parametrize(
    "archive_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_all_tar_formats_plain_or_compressed_are_read(tmp_path: Path, archive_format: int) -> None:
    data = tar(GOOD, archive_format=archive_format)
    for number, content in enumerate((data, gzip.compress(data))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert take(content, folder).in_archive == ["E003", "E012"]


def test_gzip_in_several_pieces_is_read(tmp_path: Path) -> None:
    data = tar(GOOD)
    pieces = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    assert take(pieces, tmp_path).in_archive == ["E003", "E012"]


def test_harmless_extras_are_passed_over_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extras = ["README.md", "data/E003/classification/._train.csv", "data/E003/regression/train.csv"]
    with caplog.at_level(logging.INFO):
        take(tar_gz(GOOD, [(member(name, 2), b"hi") for name in extras]), tmp_path)
    assert "3 other files were passed over: 'README.md'" in caplog.text
    assert len(tree(tmp_path / "in")) == 6


def pax(name: str, **headers: str) -> tarfile.TarInfo:
    return member(name, pax_headers=headers)


OUTSIDE = "../../outside.csv"
HOSTILE = {
    "absolute path": ([(member("/tmp/x.csv"), b"")], "an absolute path"),
    "drive letter": ([(member("C:/x.csv"), b"")], "an absolute path"),
    "parent folder": ([(member(OUTSIDE), b"")], "leaves its folder"),
    "parent folder in the middle": ([(member("data/../../x.csv"), b"")], "leaves its folder"),
    "absolute CSV": ([(member(f"/{TRAIN}"), b"")], "an absolute path"),
    "symbolic link": (
        [(member(TRAIN, type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")],
        "a symbolic link to '/etc/passwd'",
    ),
    "linked folder, then a file through it": (
        [
            (member("data/E003", type=tarfile.SYMTYPE, linkname="../.."), b""),
            (member(TRAIN, 2), b"hi"),
        ],
        "a symbolic link",
    ),
    "hard link": (
        [(member(TRAIN, type=tarfile.LNKTYPE, linkname="../../x"), b"")],
        "a hard link to",
    ),
    "character device": ([(member(TRAIN, type=tarfile.CHRTYPE), b"")], "a device"),
    "block device": ([(member("disk", type=tarfile.BLKTYPE), b"")], "a device"),
    "named pipe": ([(member(TRAIN, type=tarfile.FIFOTYPE), b"")], "a named pipe"),
    "unknown kind": ([(member(TRAIN, type=b"V"), b"")], "of an unknown kind ('V')"),
    "contiguous file": ([(member(TRAIN, type=tarfile.CONTTYPE), b"")], "of an unknown kind"),
    "backslashes": ([(member("data\\E003\\classification\\train.csv"), b"")], "a backslash"),
    "control characters": ([(member("data/E003/\x1b[2J.csv"), b"")], "control characters"),
    "line break": ([(member("a\nb"), b"")], "control characters"),
    "direction reversed": ([(member("data/\u202evsc.niart"), b"")], "control characters"),
    "invisible space": ([(member("data/E\u200b003/x.csv"), b"")], "control characters"),
    "full-width letters": (
        [(member("data/\uff25003/classification/train.csv"), b"")],
        "only looks like another",
    ),
    "full-width dots": ([(member("\uff0e\uff0e/x.csv"), b"")], "only looks like another"),
    "same member twice": ([(member(TRAIN, 2), b"hi")] * 2, "there twice"),
    "second prefix": (
        [(member(TRAIN, 2), b"hi"), (member("old/E003/classification/train.csv", 2), b"no")],
        "there twice",
    ),
    "PAX path": ([(pax("harmless", path=OUTSIDE), b"")], "leaves its folder"),
    "PAX path to another CSV": ([(pax("a", path=TRAIN), b"")] * 2, "there twice"),
    "PAX link": (
        [(member("x", type=tarfile.SYMTYPE, pax_headers={"linkpath": "/etc"}), b"")],
        "a symbolic link to '/etc'",
    ),
    "sparse file": (
        [(pax(TRAIN, **{"GNU.sparse.size": "10", "GNU.sparse.map": "0,10"}), b"")],
        "a sparse file",
    ),
    "size beyond the archive": (
        [(pax(TRAIN, size=str(1 << 50)), b"")],
        "1,125,899,906,842,624 bytes by its own account",
    ),
    "negative size": ([(pax(TRAIN, size="-512"), b"")], "-512 bytes by its own account"),
    "folder for a file": ([(member(TRAIN, type=tarfile.DIRTYPE), b"")], "a folder where a file"),
    "file for a folder": (
        [(member("data/E003/classification", 2), b"hi")],
        "a file where a folder",
    ),
    "file for a cell type": ([(member("data/E003", 2), b"hi")], "a file where a folder"),
    "endless name": ([(member("a/" * 600), b"")], "a name of 1,1"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_member_is_refused_with_its_reason_and_nothing_gets_out(
    tmp_path: Path, kind: str
) -> None:
    extra, reason = HOSTILE[kind]
    with pytest.raises(InputFormatError) as error:
        take(tar_gz(layout(["E012"]), extra), tmp_path)
    assert str(error.value).startswith("data.tar.gz is refused: ")
    assert reason in str(error.value)
    assert "nothing of it was kept" in str(error.value)
    out = {name for name in tree(tmp_path) if not name.startswith("in/here/E012/")}
    assert out <= {"data.tar.gz", "in/here/E003/train.csv"}
    assert not (tmp_path / "outside.csv").exists()


def test_old_gnu_sparse_file_is_refused(tmp_path: Path) -> None:
    # 10 bytes of data in a file that claims 8 EB less one: type S, the real size in base 256.
    header = bytearray(member(TRAIN, 0, type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (1 << 62).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(InputFormatError, match="refused"):
        take(bytes(header) + bytes(1024), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_huge_header_is_refused_before_it_takes_memory(tmp_path: Path, kind: bytes) -> None:
    header = member("header", 8_000_000_000, type=kind).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(InputFormatError, match="a header of more than 65,536 bytes"):
        take(tar({"README": b"hi"})[:1024] + header + bytes(100_000), tmp_path)


def test_chain_of_headers_is_refused(tmp_path: Path) -> None:
    header = member("chain", 8, type=tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)
    chain = (header + b"8 a=bcd\n".ljust(512, b"\0")) * 3000
    with pytest.raises(InputFormatError, match="a header of more than 65,536 bytes"):
        take(gzip.compress(chain), tmp_path)


def test_bomb_is_refused_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "ALWAYS_ALLOWED", 100_000)
    # 30 MB of zeros are about 130 kB at the fastest level: more than 100 times as much.
    bomb = tar_gz({"zeros": bytes(30_000_000), **GOOD})
    assert 100 * len(bomb) < 30_000_000
    with pytest.raises(InputFormatError, match="'zeros' is 30,000,000 bytes by its own account"):
        take(bomb, tmp_path)
    assert tree(tmp_path / "in") == {}


def test_bomb_behind_the_last_member_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_stream, "ALWAYS_ALLOWED", 100_000)
    with pytest.raises(InputFormatError, match="100 times its size"):
        take(gzip.compress(tar(GOOD) + bytes(50_000_000)), tmp_path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "MOST_MEMBERS", 5)
    with pytest.raises(InputFormatError, match="of more than 5 members"):
        take(tar_gz(GOOD), tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [True, False])
def test_cut_archive_is_damaged(tmp_path: Path, share: float, compressed: bool) -> None:
    data = tar_gz(GOOD) if compressed else tar(GOOD).rstrip(b"\0")
    with pytest.raises(InputFormatError, match="is damaged"):
        take(data[: int(share * len(data))], tmp_path)


def test_wrong_checksum_at_the_very_end_is_damaged(tmp_path: Path) -> None:
    data = bytearray(tar_gz(GOOD))
    data[-6] ^= 1  # The last 8 bytes are the CRC and the length.
    with pytest.raises(InputFormatError, match="is damaged"):
        take(bytes(data), tmp_path)


def test_broken_header_is_damaged_and_not_the_end(tmp_path: Path) -> None:
    data = bytearray(tar(GOOD))
    second = 512 + -(-len(csv("E003", "train")) // 512) * 512
    data[second + 150] ^= 1  # Within the checksum of the second header.
    with pytest.raises(InputFormatError, match="is damaged"):
        take(bytes(data), tmp_path)


def test_empty_last_member_with_a_broken_header_is_damaged(tmp_path: Path) -> None:
    data = bytearray(tar(GOOD, [(member("empty"), b"")]))
    data[data.rindex(b"empty")] ^= 1
    with pytest.raises(InputFormatError, match="a broken header"):
        take(bytes(data), tmp_path)


@pytest.mark.parametrize("data", [b"", b"<html>blocked</html>", b"\x1f\x8b\x08", bytes(100)])
def test_what_is_no_archive_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputFormatError, match="is damaged, or no tar archive"):
        take(data, tmp_path)


def test_absent_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.tar cannot be read"):
        unpack.unpack(tmp_path / "none.tar", tmp_path)


def test_unknown_cell_type_is_named_with_those_there(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownGeneError, match=r"does not hold the cell type E999(.|\n)*E003, E012"
    ):
        take(tar_gz(GOOD), tmp_path, ["E003", "E999"])


def test_archive_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFormatError, match="holds no cell type"):
        take(tar_gz({"README": b"hi"}), tmp_path)


def test_incomplete_cell_type_is_left_out_of_all_and_an_error_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {name: data for name, data in GOOD.items() if name != TRAIN}
    for name in ("all", "one"):
        (tmp_path / name).mkdir()
    unpacked = take(tar_gz(files), tmp_path / "all")
    assert list(unpacked.files) == unpacked.in_archive == ["E012"]
    assert unpacked.incomplete == {"E003": ["train"]}
    assert "1 of 2 cell types are incomplete" in caplog.text
    with pytest.raises(InputFormatError, match=r"E003 lacks train\.csv"):
        take(tar_gz(files), tmp_path / "one", ["E003"])


def test_empty_csv_is_kept_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unpacked = take(tar_gz(GOOD | {TRAIN: b""}), tmp_path)
    assert unpacked.files["E003"]["train"].size == 0
    assert "1 of the archive's files are empty: E003/train.csv" in caplog.text


def test_full_disk_stops_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "RESERVE", 1 << 60)
    with pytest.raises(OutputError, match=f"too full to unpack {TRAIN}"):
        take(tar_gz(GOOD), tmp_path)
    assert tree(tmp_path / "in") == {}


SMALL = tar(layout(["E003"], n_rows=20), [(pax("x", comment="é" * 200), b"")])


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6
    ),
    headers_only=st.booleans(),
    cut=st.one_of(st.none(), st.integers(0, len(SMALL))),
)
def test_any_change_gives_an_error_of_ours_or_an_honest_result(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int]],
    headers_only: bool,
    cut: int | None,
) -> None:
    data = bytearray(SMALL)
    starts = [
        place for place in range(0, len(SMALL), 512) if SMALL[place + 257 : place + 262] == b"ustar"
    ]
    for place, value in changes:
        at = starts[place % len(starts)] + place % 512 if headers_only else place
        data[at] = value
        if headers_only:  # A header whose checksum is right is read further.
            start = at - at % 512
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    root = tmp_path_factory.mktemp("fuzz")
    with contextlib.suppress(InputFormatError):
        take(bytes(data[:cut]), root)
    inside = {f"in/here/E{n:03d}/{s}.csv" for n in range(1000) for s in ("train", "valid", "test")}
    assert set(tree(root)) <= inside | {"data.tar.gz"}

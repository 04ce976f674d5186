import bz2
import gzip
import lzma

import pytest

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.text import open_text

TEXT = b"gene_id\tE003\ng1\t1\n"


def read(path):
    with open_text(path) as stream:
        return stream.read()


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
def test_compression_is_recognized_by_content_not_by_name(tmp_path, pack):
    path = tmp_path / "table.tsv"
    path.write_bytes(pack(TEXT))
    assert read(path) == TEXT.decode()


def test_several_gzip_members_are_one_text(tmp_path):
    path = tmp_path / "bgzipped.gz"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert read(path) == "a\nb\n"


def test_line_ends_and_byte_order_mark_are_normalized(tmp_path):
    path = tmp_path / "windows.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\tb\r\n1\t2\r3\t4\n")
    assert read(path) == "a\tb\n1\t2\n3\t4\n"


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"nowhere\.tsv does not exist"):
        read(tmp_path / "nowhere.tsv")
    with pytest.raises(MissingInputError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(MissingInputError, match="cannot be read"):
        read(tmp_path / "nul\0byte")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"bad\.tsv is empty"),
        (gzip.compress(b"", mtime=0), r"bad\.tsv is empty"),
        (gzip.compress(TEXT * 50, mtime=0)[:-5], r"bad\.tsv is cut off"),
        (bz2.compress(TEXT * 50)[:-5], r"bad\.tsv is cut off"),
        (lzma.compress(TEXT * 50)[:-5], r"bad\.tsv is cut off"),
        # Another checksum.
        (gzip.compress(TEXT, mtime=0)[:-6] + b"\xff" * 6, "damaged gzip data"),
        (b"PK\x03\x04rest", "Excel"),
        ("gene_id\tE003".encode("utf-16"), "UTF-16"),
        (b"\x93NUMPY\x01\x00v\x00", "binary data"),
        (b"gene_id\tE003\n" + "gène\t1\n".encode("latin-1"), "byte 0xe8 in line 2"),
    ],
)
def test_file_that_is_not_whole_text_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.tsv"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match=message):
        read(path)

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


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")])
def test_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "empty.tsv.gz"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match=r"empty\.tsv\.gz is empty"):
        read(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_cut_off_compressed_file_is_refused(tmp_path, pack):
    path = tmp_path / "cut.gz"
    path.write_bytes(pack(TEXT * 50)[:-5])
    with pytest.raises(InputFormatError, match=r"cut\.gz is cut off"):
        read(path)


def test_damaged_compressed_file_is_refused(tmp_path):
    path = tmp_path / "damaged.gz"
    packed = bytearray(gzip.compress(TEXT * 50))
    packed[-6] ^= 1  # the checksum
    path.write_bytes(packed)
    with pytest.raises(InputFormatError, match="damaged gzip data"):
        read(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "Excel"),
        ("gene_id\tE003".encode("utf-16"), "UTF-16"),
        (b"\x93NUMPY\x01\x00v\x00", "binary data"),
    ],
)
def test_foreign_content_is_named(tmp_path, content, what):
    path = tmp_path / "foreign.tsv"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match=what):
        read(path)


def test_byte_that_is_not_utf8_is_named_with_its_line(tmp_path):
    path = tmp_path / "latin.tsv"
    path.write_bytes(b"gene_id\tE003\n" + "gène\t1\n".encode("latin-1"))
    with pytest.raises(InputFormatError, match="byte 0xe8 in line 2"):
        read(path)

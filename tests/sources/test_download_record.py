"""The record's answer, in the shapes that it has had: what is needed is demanded, the rest not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simplechrome.errors import InputFormatError
from simplechrome.sources.download_record import (
    RemoteFile,
    normal_checksum,
    read_checksum_file,
    read_record,
)

API = "https://zenodo.org/api/records/2652278"
MD5 = "0123456789abcdef0123456789abcdef"
SHA256 = 2 * MD5

OLDER = {
    "conceptdoi": "10.5281/zenodo.2652277",
    "created": "2019-04-26T05:25:52.352157+00:00",
    "files": [
        {
            "bucket": "cbb44724-b635-4c75-94e8-c7a824efbc72",
            "checksum": f"md5:{MD5}",
            "key": "data.tar.gz",
            "links": {
                "self": "https://zenodo.org/api/files/"
                "cbb44724-b635-4c75-94e8-c7a824efbc72/data.tar.gz"
            },
            "size": 3_012_345_678,
            "type": "gz",
        }
    ],
    "id": 2652278,
}
AUTUMN_2023 = {
    "id": 2652278,
    "files": [
        {
            "id": "39922d36-4a0f-4650-9a07-53c703528e62",
            "filename": "data.tar.gz",
            "filesize": 3_012_345_678,
            "checksum": MD5,
            "links": {
                "self": f"{API}/files/39922d36-4a0f-4650-9a07-53c703528e62",
                "download": f"{API}/files/data.tar.gz/content",
            },
        }
    ],
}
PRESENT = {
    "created": "2019-04-26T05:25:52.352157+00:00",
    "links": {"self": API, "files": f"{API}/files"},
    "recid": "2652278",
    "files": [
        {
            "id": "b147e088-36a0-4ae3-96e5-ccf7139db5b9",
            "key": "data.tar.gz",
            "size": 3_012_345_678,
            "checksum": f"md5:{MD5}",
            "links": {"self": f"{API}/files/data.tar.gz/content"},
        }
    ],
    "status": "published",
}
INVENIO = {
    "id": "2652278",
    "files": {
        "enabled": True,
        "count": 2,
        "total_bytes": 3_012_345_700,
        "entries": {
            "README.md": {"size": 22, "checksum": f"md5:{MD5[::-1]}", "links": {}},
            "data.tar.gz": {
                "ext": "gz",
                "mimetype": "application/gzip",
                "size": 3_012_345_678,
                "checksum": f"md5:{MD5}",
                "access": {"hidden": False},
                "links": {
                    "self": f"{API}/files/data.tar.gz",
                    "content": f"{API}/files/data.tar.gz/content",
                },
            },
        },
    },
}


def read(record: Any) -> RemoteFile:
    return read_record(json.dumps(record).encode(), API)


def changed(**fields: object) -> dict[str, object]:
    return {"files": [PRESENT["files"][0] | fields]}  # type: ignore[index, operator]


@pytest.mark.parametrize("record", [AUTUMN_2023, PRESENT, INVENIO])
def test_newer_shapes_give_link_size_and_checksum(record: object) -> None:
    link = f"{API}/files/data.tar.gz/content"
    assert read(record) == RemoteFile(link, 3_012_345_678, f"md5:{MD5}", "record")


def test_older_shape_gives_link_size_and_checksum() -> None:
    link = "https://zenodo.org/api/files/cbb44724-b635-4c75-94e8-c7a824efbc72/data.tar.gz"
    assert read(OLDER) == RemoteFile(link, 3_012_345_678, f"md5:{MD5}", "record")


def test_entries_may_be_a_list() -> None:
    entries = [{"key": name, **e} for name, e in INVENIO["files"]["entries"].items()]  # type: ignore[index]
    assert read({"files": {"entries": entries}}).size == 3_012_345_678


def test_odd_characters_of_a_link_are_quoted_and_a_relative_one_is_completed() -> None:
    assert read(changed(links={"self": "/files/my data.tar.gz"})).url == (
        "https://zenodo.org/files/my%20data.tar.gz"
    )


@pytest.mark.parametrize("size", [None, 0, -1, "3012345678", 3.5, True])
def test_size_is_demanded(size: object) -> None:
    with pytest.raises(InputFormatError, match=r"cannot be used(.|\n)*size ="):
        read(changed(size=size))


@pytest.mark.parametrize(
    "checksum", [None, "", "md5:", "md5:xyz", f"crc:{MD5}", f"md5:{SHA256}", 5]
)
def test_checksum_is_demanded(checksum: object) -> None:
    with pytest.raises(InputFormatError, match=r"cannot be used(.|\n)*checksum ="):
        read(changed(checksum=checksum))


@pytest.mark.parametrize("links", [None, {}, [], {"self": None}, {"html": "x"}])
def test_link_is_demanded(links: object) -> None:
    with pytest.raises(InputFormatError, match=r"cannot be used(.|\n)*a link to the file"):
        read(changed(links=links))


@pytest.mark.parametrize(
    "link", ["http://zenodo.org/data.tar.gz", "ftp://x/y", "file:///etc/passwd"]
)
def test_link_without_tls_is_refused(link: str) -> None:
    with pytest.raises(InputFormatError, match="expected: a link with https"):
        read(changed(links={"self": link}))


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html>Log in</html>",
        b"\n <html>Blocked by policy",
        b"not JSON",
        b"",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"files": null}',
        b'{"files": []}',
        b'{"files": ["data.tar.gz"]}',
        b'{"files": [{"key": "other.zip"}]}',
        b'{"files": {"entries": {"data.tar.gz": null}}}',
        b'{"status": 410, "message": "The record has been deleted."}',
        b"\xff\xfe",
    ],
)
def test_other_answer_is_an_error_that_says_what_to_do(data: bytes) -> None:
    with pytest.raises(InputFormatError) as error:
        read_record(data, API)
    assert API in str(error.value)
    assert "open https://zenodo.org/records/2652278 in a browser" in str(error.value)
    assert "--source" in str(error.value)


def test_what_the_server_says_is_passed_on() -> None:
    with pytest.raises(InputFormatError, match=r"it says 'The record has been deleted\.'"):
        read({"status": 410, "message": "The record has been deleted."})


def test_web_page_is_recognized() -> None:
    with pytest.raises(InputFormatError, match=r"a web page(.|\n)*log-in portal"):
        read_record(b"\xef\xbb\xbf\n<!doctype HTML>", API)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (f"md5:{MD5}", f"md5:{MD5}"),
        (f" MD5:{MD5.upper()} ", f"md5:{MD5}"),
        (f"SHA-256:{SHA256}", f"sha256:{SHA256}"),
        (SHA256, f"sha256:{SHA256}"),
        (MD5[1:], None),
        (f"md5:{MD5}0", None),
        (f"md5:{'g' * 32}", None),
        (f"md5:{'١' * 32}", None),
    ],
)
def test_checksums_are_brought_to_one_form(text: str, normal: str | None) -> None:
    assert normal_checksum(text) == normal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{SHA256}  data.tar.gz\n", SHA256),
        (f"{SHA256} *./data.tar.gz\n", SHA256),
        (f"SHA256 (data.tar.gz) = {SHA256.upper()}", SHA256),
        (SHA256, SHA256),
        (f"{'f' * 64}  old-data.tar.gz\n{SHA256}  data.tar.gz\n", SHA256),
        (f"{'f' * 64}  a\n{SHA256}  b\n", None),
        ("<html>404</html>", None),
        (f"{SHA256}0 data.tar.gz", None),
    ],
)
def test_checksum_files_are_read(text: str, found: str | None) -> None:
    expected = found and f"sha256:{found}"
    assert read_checksum_file(text, "sha256", "data.tar.gz") == expected

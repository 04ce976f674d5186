"""Download the published DeepChrome data set: resumable, verified, each cell type whole.

Below a folder lie, afterwards:

`data/E003/classification/{train,valid,test}.csv`   what `simplechrome build deepchrome` reads
`manifest.json`                                     size and SHA-256 of each; written last
`data.tar.gz`                                       the archive, needed for further cell types only
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import re
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pooch
import requests
from tqdm.auto import tqdm

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputError,
    UnknownGeneError,
    first_names,
)
from simplechrome.sources.deepchrome_files import SPLITS
from simplechrome.sources.provenance import is_url, unreadable
from simplechrome.sources.remote import PASSING
from simplechrome.version import __version__
from simplechrome.work.files import cannot_write, only_one, write_json

logger = logging.getLogger(__name__)
T = TypeVar("T")

DOI = "10.5281/zenodo.2652278"
PAGE = "https://zenodo.org/records/2652278"
ARCHIVE, MANIFEST, LOCK, STAGING = "data.tar.gz", "manifest.json", ".download.lock", ".download"
ATTEMPTS, FIRST_WAIT, TIMEOUT = 6, 1.0, 30.0
"""Failures in a row without progress; seconds before a second attempt; seconds of silence."""

_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_CSV = re.compile(rf"(?:.*/)?(E[0-9]{{3}})/classification/({'|'.join(SPLITS)})\.csv")
# Zenodo asks programs for a name, and has slowed down those without one.
_HEADERS = {"User-Agent": f"simplechrome/{__version__}", "Accept-Encoding": "identity"}
_BY_HAND = (
    f"save data.tar.gz from {PAGE} with a browser, and pass it: simplechrome download --source "
    "data.tar.gz; or pass the address of a mirror: --source URL; behind a proxy, set HTTPS_PROXY"
)


class Download(NamedTuple):
    """What is in a folder after `download`.

    path : the folder, for `simplechrome build deepchrome`
    cell_types : the wanted ones, all verified; sorted
    unpacked : those of them that this call unpacked
    """

    path: Path
    cell_types: list[str]
    unpacked: list[str]


def check_if_dataset_exists(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    source: str | Path | None = None,
) -> Path:
    """Download what is absent below `path`, and return `path` for `simplechrome build deepchrome`.

    Parameters and errors are those of `download`.

    References
    ----------
    Cheng, Murtaza & Wang, arXiv 2012.08671; data: doi 10.5281/zenodo.2652278.
    """
    return download(path, cell_types=cell_types, source=source).path


def download(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    source: str | Path | None = None,
    checksum: str | None = None,
    verify: bool = False,
) -> Download:
    """Make the wanted cell types of the published data set complete below `path`.

    What is there and verified stays as it is. An interrupted call is resumed by the next one; two
    calls at once wait for each other.

    Parameters
    ----------
    path
        A folder; created if need be.
    cell_types
        Names such as E003; all of the archive by default. Only these are unpacked.
    source
        Address of a mirror of the archive, or a local .tar.gz or .tar. By default Zenodo.
    checksum
        Of the archive, `md5:HEX` or `sha256:HEX`. By default that of Zenodo's record. A local file,
        or a mirror while Zenodo cannot be reached, is used unverified without it, with a warning.
    verify
        Read what is there and compare its checksums, not only sizes and times.

    Raises
    ------
    MissingInputError
        If the server cannot be reached, or the local file is not there.
    InputFormatError
        If the archive has another checksum, is damaged, or lacks files of a wanted cell type.
    UnknownGeneError
        If the archive does not hold a wanted cell type.
    OutputError
        If there is no room or no right to write.
    ConfigError
        If an argument is invalid.
    """
    folder = Path(path)
    named = [cell_types] if isinstance(cell_types, str) else cell_types
    wanted = None if named is None else sorted(set(named))
    if wanted is not None and not all(re.fullmatch("E[0-9]{3}", each) for each in wanted or [""]):
        raise ConfigError(
            f"cell_types holds {first_names(map(repr, wanted)) or 'nothing'}.",
            "give names such as E003, or none for all",
        )
    expected = None if checksum is None else _checked_checksum(checksum)
    manifest, absent = _read_manifest(folder, wanted, verify)
    unpacked: list[str] = []
    if absent != []:
        with only_one(folder / LOCK):
            manifest, absent = _read_manifest(folder, wanted, verify)  # another may have done it
            if absent != []:
                try:
                    archive, entry = _archive(folder, source, expected, manifest.get("archive", {}))
                    unpacked = _unpack(folder, archive, entry, absent, manifest)
                    shutil.rmtree(folder / STAGING, ignore_errors=True)
                except OSError as error:
                    raise cannot_write(folder, error) from error
    return Download(folder, wanted or manifest["archive_cell_types"], unpacked)


def _checked_checksum(text: str) -> str:
    """Return `algorithm:hex`; without an algorithm, the number of digits decides."""
    name, _, digits = text.strip().lower().rpartition(":")
    by_length = {length: algorithm for algorithm, length in _DIGITS.items()}
    name = name.replace("-", "") or by_length.get(len(digits), "")
    if _DIGITS.get(name) != len(digits) or not re.fullmatch(r"[0-9a-f]+", digits):
        raise ConfigError(
            f"{text!r} is not a checksum.", "write md5:, sha1:, sha256: or sha512: and all digits"
        )
    return f"{name}:{digits}"


def csv_name(cell_type: str, split: str) -> str:
    """Return where, below the folder, a CSV lies."""
    return f"data/{cell_type}/classification/{split}.csv"


def _read_manifest(
    folder: Path, wanted: list[str] | None, verify: bool
) -> tuple[dict[str, Any], list[str] | None]:
    """Return the manifest, and the wanted cell types that are not there as it has them.

    None stands for all that the archive has.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        absent = [
            cell_type
            for cell_type in wanted or manifest["archive_cell_types"]
            if not all(_is_intact(folder, manifest, csv_name(cell_type, s), verify) for s in SPLITS)
        ]
    except FileNotFoundError:
        return {}, wanted
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        logger.warning("%s cannot be used: nothing is verified (%s)", folder / MANIFEST, error)
        return {}, wanted
    if manifest != json.loads(text):  # new times: the next call need not read the contents
        with contextlib.suppress(OutputError):  # a folder that may only be read can be complete
            write_json(manifest, folder / MANIFEST)
    return manifest, absent


def _is_intact(folder: Path, manifest: dict[str, Any], name: str, verify: bool) -> bool:
    state, file = manifest["files"].get(name), folder / name
    if state is None or not file.is_file() or file.stat().st_size != state["bytes"]:
        return False
    changed = file.stat().st_mtime_ns != state["mtime_ns"]
    if (verify or changed) and pooch.file_hash(file, "sha256") != state["sha256"]:
        return False
    state["mtime_ns"] = file.stat().st_mtime_ns
    return True


def _archive(
    folder: Path, source: str | Path | None, checksum: str | None, kept: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Return a verified archive, and its address and checksum for the manifest."""
    target = folder / ARCHIVE
    if source is not None and not is_url(source):
        target, url, known = Path(source), str(source), checksum
    elif target.is_file() and (checksum or kept.get("checksum")):
        url, known = kept.get("url", PAGE), checksum or kept["checksum"]
    else:
        url, known = _remote(None if source is None else str(source), checksum)
    if known is None:
        logger.warning("%s is unverified: pass its checksum, --checksum ALGORITHM:HEX", url)
    if not target.is_file() and target == folder / ARCHIVE:
        _fetch(url, known, target)
    algorithm = (known or "sha256").partition(":")[0]
    try:
        found = f"{algorithm}:{pooch.file_hash(target, algorithm)}"
    except OSError as error:
        raise unreadable(target, error) from None
    if known not in (None, found):
        raise InputFormatError(
            f"{target} is not the archive that was expected: its checksum is {found}, not {known}.",
            f"delete {target} to have it fetched, or name the archive: --source FILE",
        )
    about = {"name": target.name, "url": url, "bytes": target.stat().st_size}
    return target, {**about, "checksum": found, "verified": known is not None}


def _remote(source: str | None, checksum: str | None) -> tuple[str, str | None]:
    """Return the address of the archive and its checksum, None if none is known."""
    if source is None:
        url, published = _record(attempts=3)
        return url, checksum or published
    if urlsplit(source).scheme not in ("http", "https") or not urlsplit(source).netloc:
        raise ConfigError(
            f"{source!r} is not an address that can be fetched.",
            "write http://HOST/… or https://HOST/…, or the path of a local file",
        )
    try:
        return source, checksum or _record(attempts=1)[1]
    except MissingInputError as error:
        logger.info("No checksum for the mirror: %s", error.problem)
        return source, None


def _record(attempts: int) -> tuple[str, str]:
    """Return the archive's address and checksum, from its record at Zenodo."""
    record = pooch.downloaders.ZenodoRepository(DOI, PAGE, timeout=TIMEOUT, headers=_HEADERS)
    files = SimpleNamespace(registry={})

    def ask() -> str:
        record.populate_registry(files)
        return str(record.download_url(ARCHIVE))

    try:
        url = _patiently(ask, PAGE, attempts)
        return url, _checked_checksum(files.registry[ARCHIVE])
    except (ValueError, LookupError, TypeError, AttributeError, ConfigError) as error:
        raise MissingInputError(
            f"The record {PAGE} cannot be used: {type(error).__name__}: {error}.", _BY_HAND
        ) from None


def _patiently(
    call: Callable[[], T], url: str, attempts: int, progress: Callable[[], int] = int
) -> T:
    """Call; after failures that may pass, call again with longer and longer waits between."""
    failures, reached = 0, progress()
    while True:
        try:
            return call()
        except requests.RequestException as error:
            answer, now = error.response, progress()
            failures, reached = 1 if now > reached else failures + 1, max(reached, now)
            if failures >= attempts or (answer is not None and answer.status_code not in PASSING):
                kept = f" The {reached:,} bytes that came are kept." if reached else ""
                raise MissingInputError(
                    f"{url} cannot be fetched: {error}.{kept}", _BY_HAND
                ) from None
            asked = "" if answer is None else answer.headers.get("Retry-After", "")
            wait = min(float(asked), 120.0) if asked.isdigit() else FIRST_WAIT * 2 ** (failures - 1)
            logger.info("%s: %s; trying again in %.0f s", url, error, wait)
        time.sleep(wait)


def _fetch(url: str, known: str | None, target: Path) -> None:
    """Fetch the archive by pooch, which compares its checksum."""
    pooch.get_logger().setLevel(logging.WARNING)
    logger.info("%s to %s", url, target)
    staging = target.parent / STAGING
    staging.mkdir(exist_ok=True)
    part = staging / f"{(known or ':unverified').partition(':')[2]}.part"
    if known is None:  # nothing would show that both pieces are of one file
        part.unlink(missing_ok=True)
    for again in (True, False):
        try:
            pooch.retrieve(url, known, ARCHIVE, staging, downloader=_Resuming(part))
            break
        except ValueError as error:  # another checksum; pooch has deleted the file
            if not again:
                raise InputFormatError(
                    f"{url} is not the archive that was expected, and was not kept: {error}",
                    f"{_BY_HAND}; if another archive is meant, pass --checksum ALGORITHM:HEX",
                ) from None
            logger.warning("%s has another checksum; fetching it once more from the start", url)
    (staging / ARCHIVE).replace(target)


class _Resuming:
    """A downloader for pooch that keeps what came in `part`, and continues there by HTTP Range."""

    def __init__(self, part: Path) -> None:
        self._part = part
        self._validator = ""

    def __call__(self, url: str, output_file: str, _: object) -> None:
        _patiently(lambda: self._receive(url), url, ATTEMPTS, self._size)
        self._part.replace(output_file)

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _receive(self, url: str) -> None:
        start = self._size()
        headers = {**_HEADERS, **({"Range": f"bytes={start}-"} if start else {})}
        if start and self._validator:  # a file that was replaced comes whole
            headers["If-Range"] = self._validator
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            place = answer.headers.get("Content-Range", "")
            if answer.status_code == 416 and place == f"bytes */{start}":
                return  # a call was killed when all had come
            resumed = answer.status_code == 206 and place.startswith(f"bytes {start}-")
            if answer.status_code in (206, 416) and not resumed:
                self._part.unlink(missing_ok=True)
                raise requests.ConnectionError(f"the server sent the wrong part ({place!r})")
            answer.raise_for_status()
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise MissingInputError(
                    f"{url} cannot be fetched: a web page came in place of the archive.", _BY_HAND
                )
            etag = answer.headers.get("ETag", "W/")
            weak = etag.startswith("W/")
            self._validator = answer.headers.get("Last-Modified", "") if weak else etag
            length = answer.headers.get("Content-Length")
            start *= resumed
            total = start + int(length) if length else None
            options: dict[str, Any] = {"unit": "B", "unit_scale": True, **_quiet()}
            bar = tqdm(desc=ARCHIVE, initial=start, total=total, **options)
            with self._part.open("ab" if resumed else "wb") as file, bar:
                for block in answer.iter_content(1 << 14):
                    file.write(block)
                    bar.update(len(block))


def _quiet() -> dict[str, Any]:
    shown = sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)
    return {"leave": False, "disable": not shown}


def _unpack(
    folder: Path,
    archive: Path,
    entry: dict[str, Any],
    wanted: list[str] | None,
    manifest: dict[str, Any],
) -> list[str]:
    """Unpack the wanted cell types and note them in the manifest; return their names."""
    staging = folder / STAGING / "unpacked"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        found = _extract(archive, staging, wanted)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputFormatError(
            f"{archive} is damaged, or no .tar.gz or .tar archive: {error}.",
            f"delete {archive} and fetch it again",
        ) from None
    whole = sorted(name for name, splits in found.items() if len(splits) == len(SPLITS))
    unknown, partial = sorted({*(wanted or ())} - {*found}), sorted({*found} - {*whole})
    if unknown and found:
        raise UnknownGeneError(
            f"{archive.name} does not hold the cell type {first_names(unknown)}.",
            f"choose among {first_names(sorted(found), 60) or 'those of another archive'}",
        )
    if not whole or {*(wanted or ())} & {*partial}:
        raise InputFormatError(
            f"{archive.name} does not hold train.csv, valid.csv and test.csv in "
            f"{first_names(partial) or 'any folder such as E003/classification'}.",
            "name other cell types, or fetch the archive from its publisher",
        )
    if partial:
        logger.warning("%s: incomplete and not unpacked: %s", archive.name, first_names(partial))
    files = dict(manifest.get("files", {}))
    for name in wanted or whole:
        files.update(_move(folder, staging, name))
    manifest.update(
        format=1, archive=entry, archive_cell_types=whole, files=dict(sorted(files.items()))
    )
    write_json(manifest, folder / MANIFEST)
    return wanted or whole


def _extract(archive: Path, folder: Path, wanted: list[str] | None) -> dict[str, list[str]]:
    """Write the wanted CSVs as E003/train.csv; return the splits of each cell type there is.

    The archive is read front to back, to its end: only then is gzip's checksum compared.
    """
    found: dict[str, list[str]] = {}
    with archive.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tqdm(tar, desc=f"unpacking {archive.name}", unit="file", **_quiet()):
                if not (match := _CSV.fullmatch(member.name)):
                    continue
                cell_type, split = match.groups()
                if not member.isreg() or split in found.setdefault(cell_type, []):
                    raise tarfile.ReadError(f"{member.name!r} is no file, or there twice")
                found[cell_type].append(split)
                if wanted is None or cell_type in wanted:
                    renamed = member.replace(name=f"{cell_type}/{split}.csv", deep=False)
                    tar.extract(renamed, folder, set_attrs=False, filter="data")
        while block := stream.read(1 << 20):
            if block.strip(b"\0"):  # tarfile takes a broken header for the end
                raise tarfile.ReadError("data after the end of the archive")
    return found


def _move(folder: Path, staging: Path, cell_type: str) -> dict[str, dict[str, Any]]:
    """Give an unpacked cell type its place in one step; return the states of its files.

    What is there with other content is kept as `classification.replaced`.
    """
    new, target = staging / cell_type, (folder / csv_name(cell_type, SPLITS[0])).parent
    hashes = {split: pooch.file_hash(new / f"{split}.csv", "sha256") for split in SPLITS}
    if target.exists():
        old = {file.stem: pooch.file_hash(file, "sha256") for file in target.glob("*.csv")}
        if old != hashes:
            kept = target.with_name(f"{target.name}.replaced")
            shutil.rmtree(kept, ignore_errors=True)
            target.replace(kept)
            logger.warning("%s was there with other content: moved to %s", target, kept)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        new.replace(target)
    return {
        csv_name(cell_type, split): {
            "bytes": (target / f"{split}.csv").stat().st_size,
            "sha256": digest,
            "mtime_ns": (target / f"{split}.csv").stat().st_mtime_ns,
        }
        for split, digest in hashes.items()
    }

"""Which cell types are here, whole and verified?

A folder that exists proves nothing. `manifest.json` is written last, after every file that it
names has its place; it says of each how many bytes it has and what their SHA-256 is (the same
that a dataset's provenance names).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from simplechrome.sources.deepchrome_files import SPLITS
from simplechrome.sources.download_origin import BLOCK, Origin
from simplechrome.work.files import whole_file

logger = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class FileState:
    """What a CSV was when it was verified; the time only saves reading it again."""

    bytes: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """What is in a folder of downloaded cell types.

    archive : where the latest archive came from, its size and checksum
    archive_cell_types : the complete cell types of that archive, unpacked or not
    files : name below the folder → its state
    """

    archive: Mapping[str, str | int | None]
    archive_cell_types: tuple[str, ...]
    files: Mapping[str, FileState]

    def asked(self, wanted: Collection[str] | None) -> list[str]:
        """Which cell types are meant? All that the archive has, if no names are given."""
        return sorted(self.archive_cell_types if wanted is None else wanted)

    def broken(self, folder: Path, wanted: Collection[str] | None, *, thorough: bool) -> list[str]:
        """Which of the wanted cell types are not here as they were verified?

        Parameters
        ----------
        thorough
            False compares sizes and times of change, which is instant; True reads the contents.
        """
        return [
            name
            for name in self.asked(wanted)
            if not all(
                self._is_as_verified(folder, csv_name(name, split), thorough=thorough)
                for split in SPLITS
            )
        ]

    def _is_as_verified(self, folder: Path, name: str, *, thorough: bool) -> bool:
        state = self.files.get(name)
        if state is None:
            return False
        path = folder / name
        try:
            now = path.stat()
            if now.st_size != state.bytes:
                return False
            if thorough:
                return content_sha256(path) == state.sha256
        except OSError:
            return False
        return now.st_mtime_ns == state.mtime_ns

    def with_times(self, folder: Path, names: Collection[str]) -> Manifest:
        """The same with the times of change that these verified cell types' files have now."""
        files = dict(self.files)
        for name in (csv_name(cell_type, split) for cell_type in names for split in SPLITS):
            files[name] = replace(files[name], mtime_ns=(folder / name).stat().st_mtime_ns)
        return replace(self, files=files)


def csv_name(cell_type: str, split: str) -> str:
    """Where, below the folder, does this CSV lie?"""
    return f"data/{cell_type}/classification/{split}.csv"


def content_sha256(path: Path) -> str:
    """What is the SHA-256 of this file?"""
    with path.open("rb", buffering=0) as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def archive_entry(name: str, origin: Origin) -> dict[str, str | int | None]:
    """What does the manifest say of the archive?"""
    return {
        "name": name,
        "url": origin.url,
        "bytes": origin.size,
        "checksum": origin.checksum,
        "vouched_by": origin.vouched_by,
    }


def read_manifest(folder: Path) -> Manifest | None:
    """What does the folder's manifest say? None if there is none that can be understood."""
    path = folder / MANIFEST_NAME
    try:
        data: Any = json.loads(path.read_bytes())
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']!r}")
        cell_types = tuple(str(name) for name in data["archive_cell_types"])
        if not cell_types:
            raise ValueError("no cell types")
        return Manifest(
            dict(data["archive"]),
            cell_types,
            {str(name): FileState(**state) for name, state in data["files"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        logger.warning(
            "%s cannot be used (%s): nothing counts as verified until it is written anew.",
            path,
            error,
        )
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1)
    with whole_file(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")

"""Of which file are these bytes? What is remembered beside a download, in NAME.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simplechrome.sources.download_progress import Progress
from simplechrome.work.files import whole_file

BLOCK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Of which file, in which version, are these bytes?

    checksum : `algorithm:hex`; of a part, what the whole should have
    mtime_ns : of the finished file on this disk, to see that nobody touched it
    """

    url: str
    size: int | None
    checksum: str | None
    vouched_by: str
    etag: str = ""
    last_modified: str = ""
    mtime_ns: int = 0

    @property
    def validator(self) -> str:
        """What goes into If-Range: a strong ETag, or the date."""
        strong = self.etag and not self.etag.startswith("W/")
        return self.etag if strong else self.last_modified


def origin_path(file: Path) -> Path:
    """Where is it written what a file is? NAME.json beside it."""
    return file.with_name(file.name + ".json")


def read_origin(path: Path) -> Origin | None:
    """What does this NAME.json say? None if it is absent or cannot be understood."""
    try:
        fields: Any = json.loads(path.read_bytes())
        origin = Origin(**fields)
    except (OSError, ValueError, TypeError):
        return None
    texts = (origin.url, origin.vouched_by, origin.etag, origin.last_modified)
    valid = (
        all(isinstance(text, str) for text in texts)
        and isinstance(origin.size, int | None)
        and isinstance(origin.checksum, str | None)
        and isinstance(origin.mtime_ns, int)
    )
    return origin if valid else None


def write_origin(path: Path, origin: Origin) -> None:
    """Write what a file is, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(asdict(origin), indent=1) + "\n", encoding="utf-8")


def file_checksum(path: Path, algorithm: str, what: str) -> str:
    """What is this file's checksum, as `algorithm:hex`?"""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file, Progress(what, path.stat().st_size) as progress:
        while block := file.read(BLOCK):
            digest.update(block)
            progress.add(len(block))
    return f"{algorithm}:{digest.hexdigest()}"

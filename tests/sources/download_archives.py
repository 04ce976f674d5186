"""Small archives in the published layout, honest and not, for the tests of downloading."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

SPLITS = ("train", "valid", "test")


def csv(cell_type: str, split: str, n_rows: int = 400) -> bytes:
    """Rows of random counts; the same at each call."""
    rng = random.Random(f"{cell_type} {split}")
    rows = []
    for row in range(n_rows):
        counts = ",".join(str(rng.randrange(999)) for _ in range(5))
        rows.append(f"{row // 100:06d},{row % 100 + 1},{counts},1\n")
    return "".join(rows).encode()


def layout(cell_types: Iterable[str], n_rows: int = 400) -> dict[str, bytes]:
    return {
        f"data/{cell_type}/classification/{split}.csv": csv(cell_type, split, n_rows)
        for cell_type in cell_types
        for split in SPLITS
    }


def member(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def tar(
    files: dict[str, bytes],
    extra: Iterable[tuple[tarfile.TarInfo, bytes]] = (),
    archive_format: int = tarfile.PAX_FORMAT,
) -> bytes:
    """The files, and after them the extra members."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=archive_format) as archive:
        for name, data in files.items():
            archive.addfile(member(name, len(data)), io.BytesIO(data))
        for info, data in extra:
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def tar_gz(*args: object, **fields: object) -> bytes:
    return gzip.compress(tar(*args, **fields), compresslevel=1, mtime=0)  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder`, hidden ones too, with the MD5 of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

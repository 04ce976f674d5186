"""The CSV files of each cell type, in a folder or in an archive, which is not extracted.

A cell type is a folder that holds `classification/{train,valid,test}.csv`, at any depth in an
archive and up to `SEARCH_DEPTH` folders below a given one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from simplechrome.errors import InputFormatError, MissingInputError, UnknownGeneError, first_names
from simplechrome.sources.provenance import read_bytes, unreadable

SPLITS = ("train", "valid", "test")
SEARCH_DEPTH = 5
_LAYOUT = "CELL_TYPE/classification/{train,valid,test}.csv"


class SplitFile(NamedTuple):
    """One CSV: its name for messages and provenance, and its place or, from an archive, bytes."""

    name: str
    content: Path | bytes

    def read(self) -> bytes:
        """Return the file's content, or raise MissingInputError."""
        return self.content if isinstance(self.content, bytes) else read_bytes(self.content)


class CellTypeFiles(NamedTuple):
    """The files found for one cell type.

    files : by split; a split without a file is not there
    passed : fraction of the folder or archive that has been gone through with them
    """

    cell_type: str
    files: dict[str, SplitFile]
    passed: float


def list_cell_types(path: str | Path) -> list[str]:
    """Return the sorted names of the cell types in a folder or archive, opening no CSV.

    Parameters
    ----------
    path
        A folder (of cell types, of one cell type, or `classification` itself), .tar or .tar.gz.

    Raises
    ------
    MissingInputError
        If nothing is there.
    InputFormatError
        If it holds no cell type, one twice, or is a damaged archive.
    """
    path = Path(path)
    if _is_folder(path):
        return sorted(_folders(path))
    with _open_archive(path) as (archive, _):
        places = [_place(member, path) for member in archive]
        _check_end(archive)
    names = sorted({place[0] for place in places if place})
    if not names:
        raise _nothing_found(path, f"an archive of {len(places)} members, none of them a cell type")
    return names


def files_by_cell_type(
    path: Path, splits: Collection[str], wanted: Collection[str] | None
) -> Iterator[CellTypeFiles]:
    """Yield the files of each cell type.

    A folder gives the cell types in the order of `wanted`, or sorted. An archive is read once,
    front to back: it gives a cell type as soon as all its splits have come by, incomplete ones
    last, and reading ends when all that was wanted has been found (a second copy or a wrong
    checksum beyond that point is not seen). Cell types that are mixed with each other in an
    archive wait in memory as raw bytes.

    Raises
    ------
    UnknownGeneError
        If a cell type that is wanted is absent; for an archive known only at its end.
    InputFormatError, MissingInputError
        As by `list_cell_types`.
    """
    return (_in_folder if _is_folder(path) else _in_archive)(path, splits, wanted)


def _is_folder(path: Path) -> bool:
    if not path.exists():
        raise MissingInputError(
            f"{path} is not there.",
            f"name a folder or a .tar.gz with {_LAYOUT}; check the spelling and the working "
            "directory",
        )
    return path.is_dir()


def _in_folder(
    path: Path, splits: Collection[str], wanted: Collection[str] | None
) -> Iterator[CellTypeFiles]:
    folders = _folders(path)
    absent = [name for name in wanted or () if name not in folders]
    if absent:
        raise _absent(path, absent, sorted(folders))
    names = list(wanted or sorted(folders))
    for number, name in enumerate(names, start=1):
        folder, shown = folders[name]
        places = {split: folder / f"{split}.csv" for split in splits}
        files = {
            split: SplitFile(f"{shown}/{split}.csv", place)
            for split, place in places.items()
            if place.is_file()
        }
        yield CellTypeFiles(name, files, passed=number / len(names))


def _folders(path: Path) -> dict[str, tuple[Path, str]]:
    """Return each `classification` folder, and its name from the folder on that the user gave."""
    # absolute(), not resolve(): a link named H1 to a folder E012 is the cell type H1.
    root = path.resolve() if path.name in ("", "..") else path.absolute()
    candidates = [root] if root.name == "classification" else []
    # A bounded depth follows links and still ends where they run in circles.
    for depth in range(SEARCH_DEPTH):
        candidates += sorted(root.glob("*/" * depth + "classification"))
    base = root.parent.parent if root.name == "classification" else root.parent
    found: dict[str, tuple[Path, str]] = {}
    for candidate in filter(Path.is_dir, candidates):
        name, shown = candidate.parent.name, candidate.relative_to(base).as_posix()
        first, first_shown = found.setdefault(name, (candidate, shown))
        if first.resolve() != candidate.resolve():
            raise _found_twice(name, first_shown, shown, path.name)
    if not found:
        inside = sorted(entry.name for entry in root.iterdir())
        raise _nothing_found(path, f"a folder with {first_names(inside) or 'nothing'}")
    return found


def _in_archive(
    path: Path, splits: Collection[str], wanted: Collection[str] | None
) -> Iterator[CellTypeFiles]:
    waiting: dict[str, dict[str, SplitFile]] = {}
    complete: set[str] = set()
    n_members = 0
    with _open_archive(path) as (archive, packed):
        for member in archive:
            n_members += 1
            place = _place(member, path)
            if place is None or (wanted is not None and place[0] not in wanted):
                continue
            cell_type, split = place
            files = waiting.setdefault(cell_type, {})
            if split not in splits:
                continue
            name = f"{path.name}:{member.name}"
            if cell_type in complete or split in files:
                before = files[split].name if split in files else "an earlier folder"
                raise _found_twice(cell_type, before, name, path.name)
            stream = archive.extractfile(member)
            files[split] = SplitFile(name, stream.read() if stream else b"")
            if len(files) == len(splits):
                complete.add(cell_type)
                yield CellTypeFiles(cell_type, files, passed=packed.seek(0, 1) / packed.size())
                # The bytes go; that the cell type was there stays known.
                waiting[cell_type] = {}
                if wanted is not None and complete >= set(wanted):
                    return
        _check_end(archive)
    absent = [name for name in wanted or () if name not in waiting]
    for cell_type, files in waiting.items():
        if cell_type not in complete:
            yield CellTypeFiles(cell_type, files, passed=1)
    if absent:
        raise _absent(path, absent, list_cell_types(path))
    if not waiting:
        raise _nothing_found(path, f"an archive of {n_members} members, none of them a cell type")


def _place(member: tarfile.TarInfo, archive: Path) -> tuple[str, str] | None:
    """Return the cell type and split of a member, if it is one of the files."""
    place = PurePosixPath(member.name)
    known = place.suffix == ".csv" and place.stem in SPLITS
    if not (known and place.parent.name == "classification" and member.isfile()):
        return None
    # An archive made inside of a cell type's folder: the archive's name is all there is.
    cell_type = place.parent.parent.name or archive.name.split(".tar")[0].removesuffix(".tgz")
    return cell_type, place.stem


@contextmanager
def _open_archive(path: Path) -> Iterator[tuple[tarfile.TarFile, pa.NativeFile]]:
    """Read an archive front to back, compressed or not, and turn what breaks into one error.

    Yields the archive, and the file that it is in, whose position is the progress.
    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise unreadable(path, error) from None
    archive = None
    try:
        packed = pa.OSFile(str(path))
        # Arrow's stream is a quarter faster than the gzip module, and like it fails on a file
        # that was cut off, where tarfile alone takes a cut between two members for the end.
        stream = pa.CompressedInputStream(packed, "gzip") if is_gzip else packed
        with packed, stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield archive, packed
    except (tarfile.TarError, OSError, EOFError) as error:
        if archive is None and isinstance(error, tarfile.TarError):
            raise InputFormatError(
                f"{path} is neither a folder nor a tar archive: {error}.",
                f"name a folder, .tar or .tar.gz with {_LAYOUT}; for single CSV files, the folder "
                "that holds the cell types' folders",
            ) from None
        raise InputFormatError(
            f"{path} is damaged: {error}.",
            "fetch the archive again, or extract it and pass the folder",
        ) from None


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise if this is not the archive's true end: tarfile stops at a broken header silently.

    Reading on to the last byte also lets a compressed stream check its length and checksum.
    """
    stream: Any = archive.fileobj
    if stream.pos < archive.offset + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end-of-archive mark")
    while block := stream.read(1 << 20):
        if block.strip(b"\0"):
            raise tarfile.ReadError("data after the end of the archive, or a broken header")


def _nothing_found(path: Path, found: str) -> InputFormatError:
    return InputFormatError(
        f"{path} holds no cell type in the DeepChrome layout: it is {found}.",
        f"pass the folder or archive that holds {_LAYOUT}",
    )


def _found_twice(cell_type: str, first: str, second: str, where: str) -> InputFormatError:
    return InputFormatError(
        f"{where} holds {cell_type} twice: {first} and {second}.",
        "pass the folder that is meant, or remove the other",
    )


def _absent(path: Path, absent: list[str], present: list[str]) -> UnknownGeneError:
    return UnknownGeneError(
        f"{path} does not hold the cell type {', '.join(absent)}, only {first_names(present, 8)} "
        f"({len(present)} in all).",
        "use the names of the folders above `classification`, capitals included",
    )

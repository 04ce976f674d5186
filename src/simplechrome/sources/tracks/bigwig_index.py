"""Does every entry of a bigWig's index point into the file?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

_NODE = np.dtype([("leaf", "u1"), ("", "u1"), ("count", "u2")])
_PLACE = [("first_chrom", "u4"), ("start", "u4"), ("last_chrom", "u4"), ("end", "u4")]
_LEAF = np.dtype([*_PLACE, ("offset", "u8"), ("bytes", "u8")])
_BRANCH = np.dtype([*_PLACE, ("offset", "u8")])
_HEADER_BYTES = 48
_LARGEST_BLOCK = 1 << 28


def index_fault(
    read: Callable[[int, int], bytes], index: int, size: int, order: Literal["<", ">"]
) -> str:
    """What is wrong with the index, in words? Empty if nothing.

    A library that follows a damaged length asks for as much memory, and the process ends.

    Parameters
    ----------
    read
        (place, number of bytes) → bytes.
    index
        Where in the file the index begins.
    size
        Of the file.
    order
        `<` or `>`: of the bytes.

    References
    ----------
    Kent et al., Bioinformatics 2010, supplementary tables 14 to 17.
    """
    waiting, seen = [index + _HEADER_BYTES], set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            return f"a node at byte {place:,} that leads back to itself"
        seen.add(place)
        head = read(place, _NODE.itemsize)
        if len(head) < _NODE.itemsize:
            return f"a node at byte {place:,}, beyond the end"
        node = np.frombuffer(head, _NODE.newbyteorder(order))[0]
        if node["leaf"] > 1:
            return f"a node of no known kind at byte {place:,}"
        kind = (_LEAF if node["leaf"] else _BRANCH).newbyteorder(order)
        wanted = int(node["count"]) * kind.itemsize
        body = read(place + _NODE.itemsize, wanted)
        if len(body) < wanted:
            return f"a node of {int(node['count'])} entries at byte {place:,}, cut off"
        entries = np.frombuffer(body, kind)
        offset = entries["offset"].astype(np.float64)  # sums of damaged numbers would overflow
        first, last = (
            entries["first_chrom"].astype(np.int64),
            entries["last_chrom"].astype(np.int64),
        )
        backwards = (first > last) | ((first == last) & (entries["start"] > entries["end"]))
        if backwards.any():
            return f"an entry at byte {place:,} that ends before it begins"
        if node["leaf"]:
            length = entries["bytes"].astype(np.float64)
            if ((offset + length > size) | (length > _LARGEST_BLOCK)).any():
                return f"an entry at byte {place:,} for data beyond the end of the file"
            continue
        if (offset >= size).any():
            return f"an entry at byte {place:,} for a node beyond the end of the file"
        waiting += entries["offset"].tolist()
    return ""

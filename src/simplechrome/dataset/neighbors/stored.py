"""Neighbor graphs in the folder of a stored dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.dataset.neighbors.graph import NeighborGraph, make_graph, union
from simplechrome.dataset.store import NEIGHBORS
from simplechrome.errors import (
    ConfigError,
    DatasetFormatError,
    MissingInputError,
    did_you_mean,
    first_names,
)
from simplechrome.work.files import check_free, whole_file

_ABOUT = b"simplechrome"
_NAME = re.compile(r"[\w.+-]+")


def graph_file(dataset: str | Path, name: str) -> Path:
    """Return where a dataset's graph of this name is; ConfigError if no file can have it."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"A graph cannot be named {name!r}.", "use letters, digits and . + - _ only"
        )
    return Path(dataset) / NEIGHBORS / f"{name}.parquet"


def stored_graphs(dataset: str | Path) -> list[str]:
    """Return the names of a dataset's graphs."""
    return sorted(path.stem for path in (Path(dataset) / NEIGHBORS).glob("*.parquet"))


def save_graph(
    graph: NeighborGraph,
    dataset: str | Path,
    name: str,
    *,
    about: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """Store a graph with its dataset, and return its path.

    Edges name genes, so that they stay true in any order of rows.

    Parameters
    ----------
    dataset : folder of a stored dataset
    name : of the graph
    about : how it was made, as plain JSON
    overwrite : replace one of this name

    Raises OutputExistsError, OutputError if the file is there, or cannot be written.
    """
    path = graph_file(dataset, name)
    check_free(path, overwrite=overwrite)
    path.parent.mkdir(exist_ok=True)
    ids = pa.array(graph.gene_id.tolist(), pa.string())

    def named(rows: np.ndarray) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), ids)

    kinds = pa.array(list(graph.kinds), pa.string())
    table = pa.table(
        {
            "gene_id": named(graph.gene),
            "neighbor_id": named(graph.neighbor),
            "kind": pa.DictionaryArray.from_arrays(pa.array(graph.kind), kinds),
            "distance": graph.distance,
            "orientation": graph.orientation,
            "weight": graph.weight,
            "rank": graph.rank,
        }
    )
    table = table.replace_schema_metadata({_ABOUT: json.dumps(dict(about))})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def load_graph(dataset: str | Path, name: str) -> tuple[NeighborGraph, dict[str, Any]]:
    """Return a dataset's graph, and how it was made.

    Its genes are in an order of its own; see `NeighborGraph.on`.

    Raises MissingInputError if there is none; DatasetFormatError if it is damaged.
    """
    path = graph_file(dataset, name)
    if not path.is_file():
        held = stored_graphs(dataset)
        raise MissingInputError(
            f"{dataset} has no neighbors named {name!r}, only {', '.join(held) or 'none'}.",
            did_you_mean(name, held) or f"make them: simplechrome neighbors {name} {dataset}",
        )
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
        ids = table["gene_id"].combine_chunks().dictionary.to_pylist()
        columns = {
            column: table[column].combine_chunks().indices.to_numpy()
            for column in ("gene_id", "neighbor_id", "kind")
        }
        kinds = table["kind"].combine_chunks().dictionary.to_pylist()
        edges = {c: table[c].to_numpy() for c in ("distance", "orientation", "weight", "rank")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DatasetFormatError(
            f"{path} cannot be read as a table of edges ({type(error).__name__}: {error}).",
            "make it again with `simplechrome neighbors`",
        ) from error
    graph = make_graph(
        np.asarray(ids, dtype=object),
        columns["gene_id"],
        neighbor=columns["neighbor_id"],
        kind=columns["kind"],
        kinds=kinds,
        **edges,
    )
    return graph, about


def require_own(graph: NeighborGraph, dataset: xr.Dataset, name: str) -> NeighborGraph:
    """Return the graph in the dataset's order of genes; DatasetFormatError if they share none."""
    own = graph.on(dataset["gene_id"].values)
    if graph.n_edges and not own.n_edges:
        raise DatasetFormatError(
            f"The neighbors {name!r} are of other genes ({first_names(graph.gene_id, 3)}) than the "
            f"dataset ({first_names(dataset['gene_id'].values, 3)}).",
            "make them again with `simplechrome neighbors`",
        )
    return own


def open_neighbors(
    path: str | Path, names: str | Sequence[str] = "", *, dataset: xr.Dataset | None = None
) -> NeighborGraph:
    """Return the neighbor graph of a stored dataset.

    Parameters
    ----------
    path : of the dataset
    names : of its graphs, joined if there are several; all if empty
    dataset : in whose order of genes; that of the graph by default

    Raises MissingInputError if there is no such graph; DatasetFormatError if one is damaged, or of
    other genes than `dataset`.
    """
    wanted = [names] if isinstance(names, str) and names else list(names or stored_graphs(path))
    if not wanted:
        raise MissingInputError(
            f"{path} has no neighbors.", f"make them: simplechrome neighbors genomic {path}"
        )
    graphs = [load_graph(path, name)[0] for name in wanted]
    if dataset is not None:
        graphs = [
            require_own(graph, dataset, name) for graph, name in zip(graphs, wanted, strict=True)
        ]
    return graphs[0] if len(graphs) == 1 else union(*graphs)


def require_left_out(path: str | Path, names: Sequence[str], cell_types: Sequence[str]) -> None:
    """Raise ConfigError if co-expression was computed with cell types that are to be predicted."""
    for name in names:
        about = load_graph(path, name)[1]
        left_out = about.get("left_out", "all")
        known = [] if left_out == "all" else [c for c in cell_types if c not in left_out]
        if known:
            raise ConfigError(
                f"The neighbors {name!r} use the expression of {', '.join(known)}, which is to be "
                f"predicted; only {', '.join(left_out)} were held out.",
                f"make them again: simplechrome neighbors coexpression {path} --overwrite",
            )

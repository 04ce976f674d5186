"""Neighbor graphs beside the arrays of a stored dataset."""

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
from simplechrome.errors import ConfigError, DatasetFormatError, MissingInputError, did_you_mean
from simplechrome.work.files import check_free, whole_file

_ABOUT = b"simplechrome"
_NAME = re.compile(r"[\w.+-]+")


def graph_file(dataset: str | Path, name: str) -> Path:
    """Where is a dataset's graph of this name?

    Raises
    ------
    ConfigError
        If the name cannot be that of a file.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"A graph cannot be named {name!r}.", expected="letters, digits and . + - _"
        )
    return Path(dataset) / NEIGHBORS / f"{name}.parquet"


def stored_graphs(dataset: str | Path) -> list[str]:
    """Which graphs has this dataset?"""
    return sorted(path.stem for path in (Path(dataset) / NEIGHBORS).glob("*.parquet"))


def save_graph(
    graph: NeighborGraph,
    dataset: str | Path,
    name: str,
    *,
    about: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """How is a graph kept with its dataset?

    Edges name genes, so that they stay true whatever becomes of the order of rows.

    Parameters
    ----------
    graph
        Any.
    dataset
        Folder of a stored dataset.
    name
        Of the graph.
    about
        How it was made, as plain JSON.
    overwrite
        Replace one of this name.

    Raises
    ------
    OutputExistsError, OutputError
        If the file is there, or cannot be written.
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
    """Which graph has this dataset under this name, and how was it made?

    Returns
    -------
    The graph, its genes in an order of its own (see `NeighborGraph.on`), and what was said about
    it when it was saved.

    Raises
    ------
    MissingInputError
        If there is none.
    DatasetFormatError
        If it is damaged.
    """
    path = graph_file(dataset, name)
    if not path.is_file():
        held = stored_graphs(dataset)
        raise MissingInputError(
            f"{dataset} has no neighbors named {name!r}.",
            found=", ".join(held) or "none at all",
            remedy=did_you_mean(name, held)
            or f"make them: simplechrome neighbors {name} {dataset}",
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
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="a table of edges, as `simplechrome neighbors` writes it",
            cause="a damaged or incomplete copy",
            remedy="make it again with `simplechrome neighbors`",
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
    """The graph in the dataset's order of genes.

    Raises
    ------
    DatasetFormatError
        If hardly any gene of the one is in the other.
    """
    own = graph.on(dataset["gene_id"].values)
    if graph.n_edges and not own.n_edges:
        raise DatasetFormatError(
            f"The neighbors {name!r} are of other genes than the dataset.",
            found=", ".join(map(str, graph.gene_id[:3])),
            expected=", ".join(map(str, dataset["gene_id"].values[:3])),
            remedy="make them again with `simplechrome neighbors`",
        )
    return own


def open_neighbors(
    path: str | Path, names: str | Sequence[str] = "", *, dataset: xr.Dataset | None = None
) -> NeighborGraph:
    """Which neighbors have a stored dataset's genes?

    Parameters
    ----------
    path
        Of the dataset.
    names
        Of its graphs, joined if there are several; all if empty.
    dataset
        In whose order of genes; that of the graph by default.

    Raises
    ------
    MissingInputError
        If there is no such graph.
    DatasetFormatError
        If one is damaged, or of other genes than `dataset`.
    """
    wanted = [names] if isinstance(names, str) and names else list(names or stored_graphs(path))
    if not wanted:
        raise MissingInputError(
            f"{path} has no neighbors.",
            remedy=f"make them: simplechrome neighbors genomic {path}",
        )
    graphs = [load_graph(path, name)[0] for name in wanted]
    if dataset is not None:
        graphs = [
            require_own(graph, dataset, name) for graph, name in zip(graphs, wanted, strict=True)
        ]
    return graphs[0] if len(graphs) == 1 else union(*graphs)


def require_left_out(path: str | Path, names: Sequence[str], cell_types: Sequence[str]) -> None:
    """Do correlations between genes know nothing of the cell types that are to be predicted?

    Raises
    ------
    ConfigError
        If one was not left out when co-expression was told.
    """
    for name in names:
        about = load_graph(path, name)[1]
        left_out = about.get("left_out", "all")
        known = [] if left_out == "all" else [c for c in cell_types if c not in left_out]
        if known:
            raise ConfigError(
                f"The neighbors {name!r} know the expression of what is to be predicted.",
                found=f"correlations over all but {', '.join(left_out)}",
                expected=f"{', '.join(known)} left out as well",
                remedy=f"make them again: simplechrome neighbors coexpression {path} --overwrite",
            )

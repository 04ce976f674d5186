"""Does the program still give the numbers that it gave before it was rewritten?

    python benchmarks/same_numbers.py record BEFORE.npz [--data ../shared/data] [--only demo,tracks]
    python benchmarks/same_numbers.py compare BEFORE.npz AFTER.npz [--tolerance 1e-6]

`record` runs every verb of the command line that works offline, on simulated data (`demo`), on
counts of Roadmap cell types (`e012`) and on bigWig and BAM files (`tracks`), and keeps all numbers
of the files that come out. Nothing of the package is imported, only its command line and its files
are used, so that one script records before and after any change of the code inside.

Fits are small and short: the question is whether they are the same, not whether they are good.
Seeds are fixed and each process has one thread, so that two records of the same code on the same
machine are equal bit for bit.

Columns are compared in their order and not by their names: what a key ending in `/names` holds
(names of columns, latents, cell types, scores) may change, and `compare` only says so. Large
arrays are kept as sums over their bins and as every k-th value.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import xarray as xr

Record = dict[str, np.ndarray]

RUN = "import sys; from simplechrome.cli.main import main; sys.argv[0] = 'simplechrome'; main()"
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
LATENT_ENCODERS = ("consensus", "vae", "paper_vae", "pca")
ENCODERS = (*LATENT_ENCODERS, "log_means", *(f"{name}+log_means" for name in LATENT_ENCODERS))
MARKS = ("H3K4me3", "H3K4me1", "H3K36me3", "H3K9me3", "H3K27me3")
READ_MARKS = ("H3K4me3", "H3K36me3", "H3K9me3")  # those that the BAM files have
SHORT = {  # settings with which the slower predictors take seconds
    "mlp": "epochs = 8",
    "boosting": "max_iter = 40",
    "deepchrome": "epochs = 3",
    "attentivechrome": "epochs = 2",
    "neighborhood": "epochs = 8",
}
IDENTITIES = {"gene_id", "chrom", "strand", "split", "published_split", "label_set", "neighbor_id"}
CLOCK = ("second", "duration")  # columns and keys with these in their names are no results
WHOLE = 500_000  # values of an array that are all kept
OUTSIDE = "chr21\t0\t40005600\nchr21\t42955400\t43005600\nchr21\t48119800\t48129895\n"


class Step(NamedTuple):
    """One call of the command line: its key, its arguments, and the files to be kept."""

    name: str
    arguments: tuple[str, ...]
    files: tuple[str, ...] = ()


class Section(NamedTuple):
    """Stages of steps, which may use what earlier stages made, and what to do before a stage."""

    stages: list[list[Step]]
    before: dict[int, Callable[[Path], None]] = {}  # noqa: RUF012 (never changed)


# What is run


def fit(name: str, dataset: str, *options: str, predictor: str = "linear") -> Step:
    """Fit a run with a name that is its folder and its key."""
    arguments = ["fit", dataset, "-o", f"runs/{name}", "--seed", "0", "--threads", "1"]
    arguments += ["--device", "cpu", *options]
    if "--preset" not in options and "difference" not in options:
        arguments += ["--predictor", predictor]
    if predictor in SHORT:
        arguments += ["--config", f"{predictor}.toml"]
    files = (f"runs/{name}/predictions.parquet", f"runs/{name}/metrics.json")
    return Step(f"fit/{name}", tuple(arguments), files)


def step(name: str, *arguments: str) -> Step:
    """Make a step whose result is what follows `-o`, and a table if one is asked for."""
    files = [
        arguments[arguments.index(flag) + 1] for flag in ("-o", "--table") if flag in arguments
    ]
    return Step(name, arguments, tuple(file for file in files if not file.endswith(".html")))


def short(encoder: str) -> tuple[str, ...]:
    """Give the encoder, and few epochs if it is trained in epochs."""
    return ("--encoder", encoder, *(("--epochs", "2") if "vae" in encoder else ()))


def demo(data: Path) -> Section:
    """Run simulated data through every encoder with every predictor, and the verbs after `fit`."""
    first = "demo", "--genes", "800", "--seed", "0", "-o", "demo"
    kept = ("predictions.parquet", "metrics.json", "demo.zarr")
    zarr, few = "demo/demo.zarr", ("--labels", "60")
    graphs = {
        "genomic": (),
        "contact": ("--within", "5e5"),
        "listed": ("--pairs", "pairs.tsv"),
        "sets": ("--gmt", "sets.gmt"),
    }
    fits = [
        fit(f"demo_{encoder}_{head}", zarr, *few, *short(encoder), *near, predictor=head)
        for encoder in ENCODERS
        for head in ("linear", "mlp", "boosting", "neighborhood")
        for near in [("--neighbors", "genomic") if head == "neighborhood" else ()]
    ]
    fits += [
        fit(f"demo_none_{head}", zarr, *few, "--encoder", "none", predictor=head)
        for head in ("linear", "mlp", "boosting", "deepchrome", "attentivechrome")
    ]
    level = ("--task", "regression", "--labels", "200")
    fits += [
        fit(f"demo_regression_{head}", zarr, *level, *short("pca"), predictor=head)
        for head in ("linear", "mlp", "boosting")
    ]
    fits += [
        fit("demo_regression_deepchrome", zarr, *level, predictor="deepchrome"),
        fit("demo_preset_paper", zarr, *few, "--preset", "paper", "--epochs", "1"),
        fit("demo_ensemble", zarr, *few, *short("pca"), "--ensemble", "2", predictor="mlp"),
        fit("demo_fold", zarr, *short("pca"), "--split", "fold", "--fold", "1"),
        fit("demo_published", zarr, *short("pca"), "--split", "published"),
        fit("demo_random", zarr, *short("pca"), "--split", "random"),
        fit("demo_semi", zarr, *few, *short("consensus"), "--semi-supervised"),
        fit("demo_all_graphs", zarr, *short("pca"), "--neighbors", ",".join(graphs)),
    ]
    after = [
        step(
            f"encode/demo_{name}", "encode", f"runs/demo_{name}_linear", zarr, "-o", f"{k}.parquet"
        )
        for k, name in enumerate(ENCODERS)
    ]
    for name in ("pca_linear", "consensus_linear", "vae_mlp", "log_means_mlp", "none_deepchrome"):
        form = ("-o", f"onnx_{name}", "--format", "onnx")
        after.append(step(f"export/demo_{name}", "export", f"runs/demo_{name}", *form))
    compared = ("--against", "runs/demo_pca_linear", "--table", "reading.parquet")
    read = ("read", "runs/demo_consensus_linear", zarr, "-o", "reading.html", *compared)
    after += [step("read/demo", *read), Step("inspect/demo", ("inspect", zarr, "--json"))]
    make = [step(f"neighbors/{k}", "neighbors", k, zarr, "-n", "5", *v) for k, v in graphs.items()]
    show = step("neighbors/demo", "neighbors", "show", zarr, "-o", "edges.parquet")
    stages = [[Step("demo", first, tuple(f"demo/{file}" for file in kept))], make, [show, *fits]]
    return Section([*stages, after], {1: write_relations})


def write_relations(folder: Path) -> None:
    """Write pairs and sets of the simulated genes, for graphs of them."""
    ids = open_zarr(folder / "demo" / "demo.zarr")["gene_id"].values.tolist()
    draw = np.random.default_rng(0)
    pairs = [
        f"{first}\t{second}\t{weight:.3f}\n"
        for first, second, weight in zip(
            *draw.choice(ids, (2, 3000)), draw.random(3000), strict=True
        )
    ]
    sets = ["\t".join([f"set{k}", "-", *draw.choice(ids, 12, replace=False)]) for k in range(150)]
    (folder / "pairs.tsv").write_text("".join(pairs))
    (folder / "sets.gmt").write_text("\n".join(sets) + "\n")


def e012(data: Path) -> Section:
    """Run counts of one cell type with all marks, and of others that lack some."""
    tables = "--genes", f"{data}/genes_hg19.tsv.gz", "--expression", f"{data}/rpkm_54cells.tsv.gz"
    archive = f"{data}/deepchrome_layout_E012.tar.gz"
    others = [f"{data}/roadmap_counts/{name}.npz" for name in ("E028", "E087", "E065")]
    build = [
        step("build/deepchrome", "build", "deepchrome", archive, *tables, "-o", "e012.zarr"),
        step("build/arrays", "build", "arrays", *others, *tables, "-o", "more.zarr"),
    ]
    merge = ("merge", "e012.zarr", "more.zarr", "-o", "atlas.zarr")
    graphs = ("coexpression", *tables[2:]), ("contact",), ("genomic",)
    make = [
        step("merge", *merge),
        *(step(f"neighbors/{k}", "neighbors", k, "e012.zarr", "-n", "3", *v) for k, *v in graphs),
    ]
    zarr, few, near = "e012.zarr", ("--labels", "100"), ("--neighbors", "genomic,coexpression")
    grid = ["--representations", "raw,pca,consensus", "--predictors", "linear,mlp"]
    grid += ["--labels", "20,100", "--seeds", "2", "--permutations", "3", "--jobs", "1"]
    pair = ("--task", "difference", "--pair", "E012,E028", "--labels", "500")
    pretrained = "pretrained:roadmap"
    fits = [
        step("benchmark", "benchmark", zarr, *grid, "--threads", "1", "-o", "bench")._replace(
            files=("bench/summary.csv", "bench/scores.parquet")
        ),
        fit("atlas", "atlas.zarr", *few),
        fit("e012_consensus_linear", zarr),
        fit("e012_pca_boosting", zarr, *few, *short("pca"), predictor="boosting"),
        fit("e012_vae_linear", zarr, *few, "--encoder", "vae", "--epochs", "1"),
        fit("e012_regression", zarr, *short("consensus"), "--task", "regression"),
        fit("e012_neighbors", zarr, *few, *short("pca"), *near),
        fit("e012_neighbor_expression", zarr, *short("pca"), *near, "--neighbor-expression"),
        fit("e012_marks", zarr, *short("pca"), *(f"--mark={mark}" for mark in READ_MARKS)),
        fit("e012_from_pretrained", zarr, "--labels", "50", "--from", pretrained),
        fit("difference_default", "atlas.zarr", *pair),
        fit("difference_linear", "atlas.zarr", *pair, *short("pca")),
        step("predict/e012", "predict", pretrained, zarr, "-o", "predicted.parquet"),
        step("encode/e012", "encode", pretrained, zarr, "-o", "encoded.parquet"),
        step("export/pretrained", "export", pretrained, "--format", "onnx", "-o", "onnx"),
        step("neighbors/e012", "neighbors", "show", zarr, "-o", "edges.parquet"),
        Step("inspect/atlas", ("inspect", "atlas.zarr", "--json")),
    ]
    after = [
        step("impute", "impute", "runs/atlas", "atlas.zarr", "-o", "imputed.zarr"),
        step("predict/atlas", "predict", "runs/atlas", "more.zarr", "-o", "more.parquet"),
        fit("from_atlas", zarr, "--labels", "50", "--from", "runs/atlas"),
    ]
    return Section([build, make, fits, after])


def tracks(data: Path) -> Section:
    """Run signal around genes from bigWig and BAM files, and models on it."""
    signal, reads = data / "tracks_pilot_hg19", data / "bam_chr21_hg19"
    genes = ("--genes", f"{data}/genes_hg19.gtf.gz", "--assembly", "hg19")
    rpkm = ("--expression", f"{data}/rpkm_54cells.tsv.gz")

    def sheets(folder: Path) -> None:
        head = "cell_type\tmark\tpath\n"
        rows = [(cell, mark) for cell in ("E003", "E065", "E116") for mark in MARKS]
        pilot = "".join(f"{c}\t{m}\t{signal}/{c}-{m}.bigWig\n" for c, m in rows)
        (folder / "signal.tsv").write_text(head + pilot)
        bams = "".join(f"mine\t{mark}\t{reads}/{mark}.bam\n" for mark in READ_MARKS)
        (folder / "reads.tsv").write_text(head + bams)
        (folder / "outside.bed").write_text(OUTSIDE)

    def build(name: str, sheet: str, *options: str) -> Step:
        read = "build", "tracks", "--sheet", sheet, *genes, *options, "-o", f"{name}.zarr"
        return step(f"build/{name}", *read)

    inside = ("--blacklist", "outside.bed", "--drop-unobserved", "1")
    middle = ("--count", "five-prime", "--shift", "75", "--min-mapping-quality", "20")
    units = ("--units", "asinh_minus_log10_p")
    whole = ("--drop-unobserved", "0.9")
    stages = [
        [
            build("signal", "signal.tsv", *rpkm, *units, *whole),
            build("every_gene", "signal.tsv", *rpkm, *units),
            build("wide", "signal.tsv", "--flank", "10000", "--bin-size", "200", *whole),
            build("zoom", "signal.tsv", *whole, "--approximate"),
            build("reads", "reads.tsv", *inside),
            build("middles", "reads.tsv", *inside, *middle),
            build("per_million", "reads.tsv", *inside, "--normalize", "cpm", "--keep-duplicates"),
        ],
        [
            fit("signal", "signal.zarr", *short("vae+log_means"), "--split", "fold"),
            step(
                *("predict/signal", "predict", "pretrained:roadmap", "signal.zarr"),
                *("--match-distribution", "-o", "matched.parquet"),
            ),
            step("predict/reads", "predict", "pretrained:roadmap", "reads.zarr", "-o", "p.parquet"),
            Step("inspect/signal", ("inspect", "signal.zarr", "--json")),
            Step("inspect/reads", ("inspect", "reads.zarr", "--json")),
        ],
    ]
    return Section(stages, {0: sheets})


SECTIONS: dict[str, Callable[[Path], Section]] = {"demo": demo, "e012": e012, "tracks": tracks}


def run(step: Step, folder: Path) -> Record | None:
    """Call the command line in the folder; an error is printed, and its results are missing."""
    one_thread = {f"{name}_NUM_THREADS": "1" for name in THREADS}
    environment = os.environ | one_thread | {"PYTHONHASHSEED": "0", "MPLBACKEND": "Agg"}
    begin = time.monotonic()
    command = [sys.executable, "-c", RUN, *step.arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    print(f"{time.monotonic() - begin:6.1f} s  {step.name}", flush=True)
    if done.returncode:
        print(f"FAILED: simplechrome {' '.join(step.arguments)}\n{done.stderr[-2000:]}", flush=True)
        return None
    record: Record = {}
    if "--json" in step.arguments:
        # Sizes come in the order in which variables were read, which is another each time.
        printed = json.loads(done.stdout)
        printed["sizes"] = dict(sorted(printed["sizes"].items()))
        record.update(read_json(printed, step.name))
    for file in step.files:
        record.update(read(folder / file, f"{step.name}/{Path(file).stem}"))
    return record


# What is kept


def read(path: Path, key: str) -> Record:
    """Take the numbers and names out of one result."""
    if path.suffix == ".parquet":
        return dict(read_table(pd.read_parquet(path), key))
    if path.suffix == ".csv":
        return dict(read_table(pd.read_csv(path), key))
    if path.suffix == ".json":
        return read_json(json.loads(path.read_text(encoding="utf-8")), key)
    if path.suffix == ".zarr":
        return dict(read_dataset(open_zarr(path), key))
    record: Record = {}
    for model in sorted(path.glob("*.onnx")):
        record.update(read_onnx(model, key))
    return record


def open_zarr(path: Path) -> xr.Dataset:
    """Open a dataset by the format alone."""
    return xr.open_zarr(path, chunks=None, consolidated=False)


def read_table(table: pd.DataFrame, key: str) -> Iterator[tuple[str, np.ndarray]]:
    """Keep numbers as one array, and texts as another; those that are names by themselves."""
    table = table[[name for name in table if not any(word in str(name) for word in CLOCK)]]
    numbers = table.select_dtypes(["number", "bool"])
    text = table.drop(columns=numbers.columns)
    same = [name for name in text if name in IDENTITIES]
    yield f"{key}/numbers", numbers.to_numpy(np.float64)
    yield f"{key}/numbers/names", np.array(numbers.columns, str)
    if same:
        yield f"{key}/text", text[same].astype(str).to_numpy(str)
    other = text.drop(columns=same).astype(str)
    for name in other:
        yield f"{key}/{name}/names", other[name].to_numpy(str)


def read_json(value: Any, key: str) -> Record:
    """Keep all numbers of a JSON file in their order, and what they are called."""
    names: list[str] = []
    numbers: list[float] = []

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for below, item in items:
                walk(item, f"{name}.{below}")
        elif isinstance(value, int | float | None) and not any(word in name for word in CLOCK):
            names.append(name[1:])
            numbers.append(np.nan if value is None else float(value))

    walk(value, "")
    return {f"{key}/numbers": np.array(numbers), f"{key}/numbers/names": np.array(names, str)}


def read_dataset(dataset: xr.Dataset, key: str) -> Iterator[tuple[str, np.ndarray]]:
    """Keep all variables; of large ones a sample, and sums over the bins."""
    for name, variable in dataset.variables.items():
        values = variable.values
        if values.dtype.kind not in "biuf":
            yield (
                f"{key}/{name}{'' if name in IDENTITIES else '/names'}",
                np.array(values.tolist(), str),
            )
        elif values.size <= WHOLE:
            yield f"{key}/{name}", values
        else:
            yield f"{key}/{name}/sample", values.reshape(-1)[:: values.size // WHOLE * 2 + 1]
            totals = variable.astype(np.float64).sum("bin") if "bin" in variable.dims else variable
            yield f"{key}/{name}/sums", totals.values


def read_onnx(path: Path, key: str) -> Record:
    """Keep the outputs of an exported model for random windows, some marks missing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    draw = np.random.default_rng(0)
    feed = {}
    for entry in session.get_inputs():
        shape = (200, *(size for size in entry.shape[1:]))
        values = draw.poisson(3, shape) if len(shape) == 3 else draw.random(shape) < 0.8
        feed[entry.name] = values.astype(np.float32)
    answers = session.run(None, feed)
    names = np.array([entry.name for entry in session.get_outputs()], str)
    record = {f"{key}/{path.stem}/{k}": np.asarray(v) for k, v in enumerate(answers)}
    return record | {f"{key}/{path.stem}/names": names}


def record(output: Path, data: Path, work: Path, only: list[str], jobs: int) -> int:
    """Run the sections, and write all that they gave."""
    every: Record = {}
    failed = 0
    begin = time.monotonic()
    for name in only:
        folder = work / name
        folder.mkdir(parents=True)  # never on top of older results
        for predictor, settings in SHORT.items():
            text = f'[predictor]\nname = "{predictor}"\n{settings}\n'
            (folder / f"{predictor}.toml").write_text(text)
        section = SECTIONS[name](data.resolve())
        for number, stage in enumerate(section.stages):
            section.before.get(number, lambda folder: None)(folder)
            with ThreadPoolExecutor(jobs) as pool:
                results = list(pool.map(run, stage, [folder] * len(stage)))
            for result in filter(None, results):
                every.update({f"{name}/{key}": value for key, value in result.items()})
            failed += sum(result is None for result in results)
    np.savez_compressed(output, **every)
    print(f"{output}: {len(every)} keys in {time.monotonic() - begin:.0f} s, {failed} steps failed")
    return int(failed > 0)


# How two records are compared


def difference(before: np.ndarray, after: np.ndarray) -> float:
    """Largest absolute difference; of texts the number of those that differ."""
    if before.shape != after.shape or (before.dtype.kind == "U") != (after.dtype.kind == "U"):
        return np.inf
    if before.dtype.kind == "U":
        return float(np.sum(before != after))
    first, second = before.astype(np.float64), after.astype(np.float64)
    apart = np.abs(first - second)
    apart[(first == second) | (np.isnan(first) & np.isnan(second))] = 0  # also inf and inf
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0))


def compare(before: Path, after: Path, tolerance: float) -> int:
    """Print a row for each key; 1 if one is missing, or differs by more than the tolerance."""
    with np.load(before) as first, np.load(after) as second:
        equal, bad, renamed, largest = 0, 0, 0, 0.0
        keys = [key for key in first.files if not key.endswith("/names")]
        for key in first.files:
            off = difference(first[key], second[key]) if key in second.files else np.inf
            if key.endswith("/names"):
                renamed += off > 0
                if off:
                    print(f"{key}: names differ (not counted)")
                continue
            verdict = "equal" if off == 0 else "within" if off <= tolerance else "DIFFERS"
            if key not in second.files:
                verdict = "MISSING"
            elif first[key].shape != second[key].shape:
                verdict = f"DIFFERS: shape {second[key].shape}"
            equal, bad, largest = equal + (off == 0), bad + (off > tolerance), max(largest, off)
            print(f"{key}: {first[key].shape}, {off:.3g}, {verdict}")
        new = [key for key in second.files if key not in first.files]
        for key in new:
            print(f"{key}: only in {after} (not counted)")
    print(
        f"{len(keys)} keys, {equal} exactly equal, {bad} missing or off by more than "
        f"{tolerance:g}, largest difference {largest:.3g}; {renamed} keys of names differ, "
        f"{len(new)} keys are new"
    )
    return int(bad > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    keep = verbs.add_parser("record", help="run everything, keep the numbers")
    keep.add_argument("output", type=Path)
    keep.add_argument("--data", type=Path, default=Path("../shared/data"))
    keep.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    keep.add_argument("--jobs", type=int, default=2, help="commands at a time")
    keep.add_argument("--work", type=Path, help="a new folder to keep what was built in")
    two = verbs.add_parser("compare", help="compare two records")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--tolerance", type=float, default=1e-6)
    chosen = parser.parse_args()
    if chosen.verb == "compare":
        return compare(chosen.before, chosen.after, chosen.tolerance)
    only = chosen.only.split(",")
    if unknown := set(only) - set(SECTIONS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as temporary:
        work = chosen.work or Path(temporary)
        return record(chosen.output, chosen.data, work.resolve(), only, chosen.jobs)


if __name__ == "__main__":
    sys.exit(main())

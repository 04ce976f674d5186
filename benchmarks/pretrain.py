"""The model in the package: what is kept of a run, and its card.

    simplechrome build deepchrome … -o e012.zarr --genes … --expression …
    simplechrome build arrays … -o rest.zarr --genes … --expression …
    simplechrome merge e012.zarr rest.zarr -o atlas.zarr
    simplechrome fit atlas.zarr -o runs/roadmap --encoder consensus
    python benchmarks/pretrain.py runs/roadmap atlas.zarr src/simplechrome/pretrained/roadmap

Keeps what `simplechrome predict` needs: encoder, predictor, calibration, split, depths. Nothing of
the data is kept but statistics of whole tracks (mean signal, mean profile, spread) and gene ids.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import simplechrome
from simplechrome.evaluation.scores import format_score

KEPT = (
    *("config.toml", "encoder", "predictor", "calibration.json", "signal_profile.json"),
    *("split.parquet", "metrics.json"),
)
LARGEST = 5_000_000  # bytes

CARD = """# pretrained:roadmap

Encoder and linear head for **high or low expression** (above or below the median gene of a cell
type) from histone marks around the TSS, for tracks whose cell types have no RNA:

    simplechrome predict pretrained:roadmap mine.zarr -o predictions.parquet
    simplechrome fit mine.zarr -o runs/mine --init-from pretrained:roadmap --labels 50
    simplechrome impute pretrained:roadmap mine.zarr -o imputed.zarr

**Trained on** {n_cell_types} Roadmap cell types (hg19), {n_train} genes of all chromosomes but
{held_out}; read counts in 100 bins of 100 bp around the
TSS; marks {marks}, no more than {most} of them in
any cell type but E012. Labels: RPKM above the median. The encoder saw no label. {size:.1f} MB;
SimpleChrome {version}.

**Scores** on the test chromosomes ({test}; {n_test} genes, no window of which was seen
in any cell type), in the cell types that it was trained on, and 95 % of a block bootstrap over runs
of 50 genes:

| cell type | marks | AUROC | AUPRC |
|---|---|---|---|
{rows}

In cell types that it has not seen expect less: docs/explanation/transfer.md.

**Assumes**

- windows of 10 kb around the TSS in 100 bins; other bins are refused;
- counts of reads, or CPM. Depth does not matter: each new track is measured on its own windows, 100
  or more. Thin tracks (below some .3 reads a bin) carry less information. p-values and fold
  change are another kind of signal, and are refused unless `--match-distribution` is given;
- marks by these names; others are ignored. Missing ones are filled in from those that are there;
  without H3K4me3, or with repressive marks alone, expect the scores of such cell types in the
  table;
- a cell type in which half of the genes are on: probabilities are of being above the median gene.
  Of a handful of chosen genes, the ranks mean more than the probabilities.

**Limits**: {n_cell_types} cell types of one consortium, read counts at ±1; bulk tissue and cell
lines; protein-coding genes with one TSS each; calibrated over all cell types together, so in a new
one probabilities may be off (fine-tuning with `--init-from` and some labels corrects them). Genes
of the training chromosomes were used for training: do not score on them (see the column `split`).
"""


def write_card(run: Path, dataset: str, folder: Path) -> None:
    """What a user has to know, with the scores of the run."""
    data = simplechrome.open_dataset(dataset)
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["test"]["cell_types"]
    marks = [str(mark) for mark in data["mark"].values]
    present = data["mark_present"]
    rows = []
    for name, score in scores.items():
        own = [mark for mark in marks if present.sel(cell_type=name, mark=mark)]
        cells = format_score(score, "auroc"), format_score(score, "auprc")
        rows.append(f"| {name} | {', '.join(own)} | {' | '.join(cells)} |")
    split = simplechrome.split_by_chromosome(data)
    counts = present.sum("mark").drop_sel(cell_type="E012")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text = CARD.format(
        n_cell_types=data.sizes["cell_type"],
        n_train=f"{split.train.sizes['gene']:,}",
        held_out="chr1, chr8, chr21 (test) and chr2, chr9, chr22 (validation)",
        test="chr1, chr8, chr21",
        n_test=f"{split.test.sizes['gene']:,}",
        marks=", ".join(marks),
        most=int(counts.max()),
        rows="\n".join(rows),
        size=size / 1e6,
        version=simplechrome.__version__,
    )
    (folder / "README.md").write_text(text)
    if size > LARGEST:
        raise SystemExit(f"{folder} has {size:,} bytes: more than the {LARGEST:,} of the package")
    print(f"{folder}: {size:,} bytes")


def main() -> None:
    """Keep a run for the package."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.folder.exists():
        shutil.rmtree(options.folder)
    options.folder.mkdir(parents=True)
    for name in KEPT:
        copy = shutil.copytree if (options.run / name).is_dir() else shutil.copy
        copy(options.run / name, options.folder / name)
    environment = json.loads((options.run / "environment.json").read_text())
    kept = {
        "packages": environment["packages"],
        "dataset": {"assembly": environment["dataset"].get("assembly", "")},
    }
    (options.folder / "environment.json").write_text(json.dumps(kept, indent=1) + "\n")
    write_card(options.run, options.dataset, options.folder)


if __name__ == "__main__":
    main()

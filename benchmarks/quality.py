"""How good are the representations on a real cell type, by the written protocol?

    python benchmarks/quality.py e012.zarr [--labels 20,1000,all] [--draws 20] [--vae-seeds 1]
        [--permutations 50] [--permuted-labels 200] [-o scores.csv]

Test AUROC of a linear head that chooses its penalty by cross-validation inside its labels; the
same draws of labels for every representation, so differences are paired. The control permutes
the labels before training: its mean over permutations must cover .5. Test chromosomes are chr1,
chr8, chr21; nothing here is chosen on them.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import xarray as xr

import simplechrome
from simplechrome import metrics
from simplechrome.evaluation.label_efficiency import label_efficiency


def encode(train, validation, test, vae_seeds: int) -> dict[str, tuple[xr.DataArray, xr.DataArray]]:
    encoders = {
        "log-means": simplechrome.LogMeans(),
        "log-region-means": simplechrome.LogMeans(n_regions=5),
        "raw": simplechrome.RawWindow(),
        "PCA 10": simplechrome.PCA(10),
    }
    encoders |= {f"VAE 10, seed {s}": simplechrome.VAE(random_state=s) for s in range(vae_seeds)}
    latents = {}
    for name, encoder in encoders.items():
        encoder.fit(train, validation=validation)
        latents[name] = encoder.transform(train), encoder.transform(test)
        print(f"fitted {name}", flush=True)
    return latents


def permuted(split, latents, n_labels: int, permutations: int) -> pd.DataFrame:
    truth = split.test["label"].values.ravel()
    rows = []
    for seed in range(permutations):
        genes = simplechrome.draw_labels(split.train, n_labels, seed)
        label = split.train["label"].isel(gene=genes)
        shuffled = np.random.default_rng([seed, 1]).permutation(label.values, axis=1)
        label = label.copy(data=shuffled)
        for name, (train, test) in latents.items():
            head = simplechrome.LinearPredictor(random_state=seed)
            score = head.fit(train.isel(gene=genes), label).decision_function(test)
            rows.append((name, seed, metrics.auroc(truth, np.ravel(score))))
    return pd.DataFrame(rows, columns=["representation", "permutation", "auroc"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--labels", default="20,50,100,200,1000,all")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--vae-seeds", type=int, default=1)
    parser.add_argument("--permutations", type=int, default=50)
    parser.add_argument("--permuted-labels", type=int, default=200)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()

    split = simplechrome.split_by_chromosome(simplechrome.open_dataset(arguments.dataset))
    latents = encode(*split, arguments.vae_seeds)
    counts = [None if text == "all" else int(text) for text in arguments.labels.split(",")]
    scores = label_efficiency(split, latents, counts, draws=arguments.draws)
    if arguments.output:
        scores.to_csv(arguments.output, index=False)
    wide = scores.pivot(index=["n_labels", "draw"], columns="representation", values="auroc")
    wide = wide[list(latents)]
    print("\nmean test AUROC")
    print(wide.groupby("n_labels").mean().T.to_string(float_format="{:.4f}".format))
    print("\npaired difference to PCA 10: mean (standard error over draws)")
    paired = wide.sub(wide["PCA 10"], axis=0).drop(columns="PCA 10").groupby("n_labels")
    mean, error = paired.mean().T, paired.sem().T
    print((mean.map("{:+.4f}".format) + error.map(" ({:.4f})".format)).to_string())
    if arguments.permutations:
        control = permuted(split, latents, arguments.permuted_labels, arguments.permutations)
        control = control.groupby("representation")["auroc"].agg(["mean", "sem", "std", "size"])
        print(f"\ncontrol: labels permuted before training, {arguments.permuted_labels} labels")
        print(control.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()

"""Do latents beat the raw window under the SimpleChrome paper's own settings?

    python benchmarks/paper.py e012.zarr [--labels 100,1000,all] [--draws 10] [--threads 1]
        [--longer 50] [--permutations 50] [-o scores.csv]

Test AUROC (chr1, chr8, chr21) of the paper's perceptron on the raw window and on the latents of the
paper's autoencoder (`PaperVAE`, seed 0, all training windows), on the same draws of labels; beside
it the defaults of this program on the same draws. All labels are one draw: there the seed is that
of weights and order. Nothing here is chosen on test genes. Also said: what the autoencoder
reconstructs, and which of its latents it uses.

Two lines are not the paper's and show where a difference comes from: its latents standardized
before the perceptron sees them, and its autoencoder trained for `--longer` epochs.

Controls: the scores of permuted test labels, and labels permuted before training (100 labels).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

import simplechrome
from simplechrome import metrics
from simplechrome.config.models import make_encoder, make_predictor
from simplechrome.config.options import merge_options
from simplechrome.config.run import RunConfig
from simplechrome.latent.encoder import WindowEncoder
from simplechrome.predictors.predictor import Predictor

RAW, LATENTS = "paper MLP, raw window", "paper MLP, paper VAE"


class Method(NamedTuple):
    """A head on a representation: train and test features, and seed → unfitted head."""

    train: xr.DataArray
    test: xr.DataArray
    head: Callable[[int], Predictor]


def paper(threads: int, encoder: str = "vae") -> RunConfig:
    return merge_options(None, {"preset": "paper", "encoder": encoder, "threads": threads})


def describe(encoder: WindowEncoder, train: xr.Dataset, test: xr.Dataset, name: str) -> None:
    """Share of the variance of test windows that is reconstructed; what the latents say."""
    seen = encoder.transform_windows(test).values
    windows = encoder.transform_windows(train).values
    mean = windows.mean(axis=(0, 1))
    back = encoder._decode(encoder.transform(test).values[0])[np.newaxis]
    lost, total = (np.square(seen - other).sum(axis=(0, 1, 2)) for other in (back, mean))
    shares = [
        f"{mark} {1 - a / b:.3f}" for mark, a, b in zip(encoder.marks_, lost, total, strict=True)
    ]
    errors = [np.square(seen - other).mean() for other in (back, mean)]
    latents = encoder.transform(train).values[0].astype(float)
    variance = np.linalg.eigvalsh(np.cov(latents.T))[::-1]
    signal = windows[0].sum(axis=(1, 2))
    tied = [abs(np.corrcoef(signal, latent)[0, 1]) for latent in latents.T]
    print(f"\n{name}: bound {encoder.elbo(test):.1f} nats per test gene")
    print("  mean squared error {:.5f}; of the mean training window {:.5f}".format(*errors))
    print(f"  share explained {1 - lost.sum() / total.sum():.3f}: {', '.join(shares)}")
    print(f"  activity {encoder.activity_.round(3)}, KL {encoder.kl_.round(2)}")
    print(f"  means of the latents {latents.mean(axis=0).round(2)}")
    print(f"  share of their variance by direction {(variance / variance.sum()).round(3)}")
    print(f"  correlation of each with the window's total {np.round(tied, 2)}", flush=True)


def methods(train, validation, test, longer: int, threads: int) -> dict[str, Method]:
    encoders = {
        "paper raw": make_encoder(paper(threads, "none")),
        "paper": make_encoder(paper(threads)),
        "raw": simplechrome.RawWindow(),
        "PCA": simplechrome.PCA(),
        "VAE": simplechrome.VAE(threads=threads),
    }
    if longer:
        encoders["longer"] = make_encoder(paper(threads)).set_params(epochs=longer)
    latents = {}
    for name, encoder in encoders.items():
        start = time.perf_counter()
        encoder.fit(train, validation=validation)
        latents[name] = encoder.transform(train), encoder.transform(test)
        print(f"fitted {name} in {time.perf_counter() - start:.0f} s", flush=True)
    describe(encoders["paper"], train, test, "paper VAE")
    if longer:
        describe(encoders["longer"], train, test, f"paper VAE, {longer} epochs")
    mean, deviation = latents["paper"][0].mean("gene"), latents["paper"][0].std("gene")
    standardized = [(part - mean) / deviation for part in latents["paper"]]

    def paper_mlp(seed: int) -> Predictor:
        return make_predictor(paper(threads).model_copy(update={"seed": seed}))

    def mlp(seed: int) -> Predictor:
        return simplechrome.MLPPredictor(random_state=seed, threads=threads)

    def linear(seed: int) -> Predictor:
        return simplechrome.LinearPredictor(random_state=seed)

    table = {
        RAW: Method(*latents["paper raw"], paper_mlp),
        LATENTS: Method(*latents["paper"], paper_mlp),
        "paper MLP, paper VAE standardized": Method(*standardized, paper_mlp),
        "linear, paper VAE": Method(*latents["paper"], linear),
        "linear, paper VAE standardized": Method(*standardized, linear),
        "MLP, raw window": Method(*latents["raw"], mlp),
        "MLP, VAE": Method(*latents["VAE"], mlp),
        "linear, VAE": Method(*latents["VAE"], linear),
        "linear, PCA": Method(*latents["PCA"], linear),
    }
    if longer:
        table[f"paper MLP, paper VAE {longer} epochs"] = Method(*latents["longer"], paper_mlp)
    return table


def score(
    method: Method, label: xr.DataArray, genes: np.ndarray, seed: int, truth: np.ndarray
) -> tuple[float, float]:
    """Test AUROC, and that of the same scores on permuted test labels."""
    head = method.head(seed).fit(method.train.isel(gene=genes), label)
    values = np.ravel(head.decision_function(method.test))
    shuffled = np.random.default_rng([seed, 2]).permutation(truth)
    return metrics.auroc(truth, values), metrics.auroc(shuffled, values)


def score_draws(split, table: Mapping[str, Method], counts, draws: int) -> pd.DataFrame:
    truth = split.test["label"].values.ravel()
    everything = np.arange(split.train.sizes["gene"])
    rows = []
    for count in counts:
        for seed in range(draws):
            genes = (
                simplechrome.draw_labels(split.train, count, seed)
                if count is not None
                else everything
            )
            label = split.train["label"].isel(gene=genes)
            for name, method in table.items():
                found = score(method, label, genes, seed, truth)
                rows.append((name, len(genes), seed, *found))
        print(f"scored with {'all' if count is None else count} labels", flush=True)
    return pd.DataFrame(rows, columns=["method", "n_labels", "seed", "auroc", "permuted_test"])


def score_permuted(split, table: Mapping[str, Method], permutations: int) -> pd.DataFrame:
    truth = split.test["label"].values.ravel()
    rows = []
    for seed in range(permutations):
        genes = simplechrome.draw_labels(split.train, 100, seed)
        label = split.train["label"].isel(gene=genes)
        label = label.copy(data=np.random.default_rng([seed, 1]).permutation(label.values, axis=1))
        for name in (RAW, LATENTS):
            rows.append((name, score(table[name], label, genes, seed, truth)[0]))
    return pd.DataFrame(rows, columns=["method", "auroc"])


def with_errors(mean: pd.DataFrame, error: pd.DataFrame, form: str) -> str:
    return (mean.map(form.format) + error.map(" ({:.4f})".format)).to_string()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--labels", default="100,1000,all")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--longer", type=int, default=50)
    parser.add_argument("--permutations", type=int, default=50)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()

    split = simplechrome.split_by_chromosome(simplechrome.open_dataset(arguments.dataset))
    table = methods(*split, arguments.longer, arguments.threads)
    counts = [None if text == "all" else int(text) for text in arguments.labels.split(",")]
    scores = score_draws(split, table, counts, arguments.draws)
    if arguments.output:
        scores.to_csv(arguments.output, index=False)
    wide = scores.pivot(index=["n_labels", "seed"], columns="method", values="auroc")[list(table)]
    by_count = wide.groupby("n_labels")
    print("\ntest AUROC: mean (standard deviation over draws or, with all labels, weight seeds)")
    print(with_errors(by_count.mean().T, by_count.std().T, "{:.4f}"))
    for base in (RAW, "linear, PCA"):
        paired = wide.sub(wide[base], axis=0).drop(columns=base).groupby("n_labels")
        print(f"\npaired difference to {base}: mean (standard error)")
        print(with_errors(paired.mean().T, paired.sem().T, "{:+.4f}"))
    control = scores.groupby("method")["permuted_test"].agg(["mean", "sem", "size"])
    print("\ncontrol: the same scores, test labels permuted")
    print(control.loc[list(table)].to_string(float_format="{:.4f}".format))
    if arguments.permutations:
        control = score_permuted(split, table, arguments.permutations)
        control = control.groupby("method")["auroc"].agg(["mean", "sem", "std", "size"])
        print("\ncontrol: labels permuted before training, 100 labels")
        print(control.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()

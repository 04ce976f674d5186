"""Compare latents with the raw window under the SimpleChrome paper's own settings.

    python benchmarks/paper.py e012.zarr [--labels 100,1000,all] [--draws 10] [-o scores.csv]

Test AUROC (chr1, chr8, chr21) of the paper's perceptron on the raw window and on the latents of the
paper's autoencoder (`PaperVAE`, seed 0, all training windows), and of this program's defaults, on
the same draws of labels. All labels are one draw: there the seed is that of weights and order.
Two rows are not the paper's: its latents standardized, and its autoencoder trained for `--longer`
epochs. Controls: permuted test labels, and labels permuted before training (100 labels).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

import simplechrome
from simplechrome.config.models import make_encoder, make_predictor
from simplechrome.config.options import merge_options
from simplechrome.metrics import auroc

RAW, LATENTS = "paper MLP, raw window", "paper MLP, paper VAE"


def paper(**options: Any) -> Any:
    return merge_options(None, {"preset": "paper", "encoder": "vae", **options})


def describe(encoder: Any, train: Any, test: Any) -> None:
    """Print the fraction of variance of test windows that is reconstructed, and latents in use."""
    seen, windows = (encoder.transform_windows(part).values for part in (test, train))
    back = encoder._decode(encoder.transform(test).values[0])[np.newaxis]
    lost, total = (np.square(seen - b).sum((0, 1, 2)) for b in (back, windows.mean((0, 1))))
    print(f"\npaper VAE, {encoder.epochs} epochs: {encoder.elbo(test):.1f} nats per test gene")
    print(f"  fraction explained {1 - lost.sum() / total.sum():.3f}; {(1 - lost / total).round(3)}")
    print(f"  activity {encoder.activity_.round(3)}, KL {encoder.kl_.round(2)}", flush=True)


def prepare(split: Any, longer: int, threads: int) -> dict[str, tuple[Any, Any]]:
    """Return each method's features (train, test), and seed → unfitted predictor."""
    encoders = {
        "paper raw": make_encoder(paper(encoder="none")),
        "paper": make_encoder(paper(threads=threads)),
        "raw": simplechrome.RawWindow(),
        "PCA": simplechrome.PCA(),
        "VAE": simplechrome.VAE(threads=threads),
        "longer": make_encoder(paper(threads=threads)).set_params(epochs=max(1, longer)),
    }
    features: dict[str, Any] = {}
    for name, encoder in encoders.items():
        encoder.fit(split.train, validation=split.validation)
        features[name] = encoder.transform(split.train), encoder.transform(split.test)
        if name in ("paper", "longer"):
            describe(encoder, split.train, split.test)
    mean, deviation = features["paper"][0].mean("gene"), features["paper"][0].std("gene")
    features["standardized"] = tuple((part - mean) / deviation for part in features["paper"])

    paper_mlp = lambda seed: make_predictor(paper(threads=threads, seed=seed))  # noqa: E731
    mlp = lambda seed: simplechrome.MLPPredictor(random_state=seed, threads=threads)  # noqa: E731
    linear = lambda seed: simplechrome.LinearPredictor(random_state=seed)  # noqa: E731
    methods = {
        RAW: ("paper raw", paper_mlp),
        LATENTS: ("paper", paper_mlp),
        "paper MLP, paper VAE standardized": ("standardized", paper_mlp),
        "linear, paper VAE": ("paper", linear),
        "linear, paper VAE standardized": ("standardized", linear),
        "MLP, raw window": ("raw", mlp),
        "MLP, VAE": ("VAE", mlp),
        "linear, VAE": ("VAE", linear),
        "linear, PCA": ("PCA", linear),
        f"{LATENTS} {longer} epochs": ("longer", paper_mlp),
    }
    return {name: (features[kind], make) for name, (kind, make) in methods.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--labels", default="100,1000,all")
    for option, default in (("draws", 10), ("threads", 1), ("longer", 50), ("permutations", 50)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("-o", "--output")
    given = parser.parse_args()
    split = simplechrome.split_by_chromosome(simplechrome.open_dataset(given.dataset))
    methods = prepare(split, given.longer, given.threads)
    truth, labels = split.test["label"].values.ravel(), split.train["label"]

    def score(name: str, count: str, seed: int, permute: bool = False) -> dict[str, Any]:
        genes = np.arange(labels.sizes["gene"])
        if count != "all":
            genes = simplechrome.draw_labels(split.train, int(count), seed)
        y = labels.isel(gene=genes)
        if permute:
            y = y.copy(data=np.random.default_rng([seed, 1]).permutation(y.values, axis=1))
        (train, test), make = methods[name]
        values = np.ravel(make(seed).fit(train.isel(gene=genes), y).decision_function(test))
        chance = auroc(np.random.default_rng([seed, 2]).permutation(truth), values)
        row = {"method": name, "n_labels": len(genes), "seed": seed}
        return row | {"auroc": auroc(truth, values), "permuted_test": chance}

    draws, counts = range(given.draws), given.labels.split(",")
    scores = pd.DataFrame([score(m, n, seed) for n in counts for seed in draws for m in methods])
    if given.output:
        scores.to_csv(given.output, index=False)
    wide = scores.pivot(index=["n_labels", "seed"], columns="method", values="auroc")[list(methods)]
    pd.set_option("display.float_format", "{:.4f}".format, "display.width", 200)
    print("\ntest AUROC: mean and standard deviation over draws (all labels: over weight seeds)")
    print(wide.groupby("n_labels").agg(["mean", "std"]).T)
    for base in (RAW, "linear, PCA"):
        paired = wide.sub(wide[base], axis=0).groupby("n_labels").agg(["mean", "sem"])
        print(f"\npaired difference to {base}: mean and standard error\n{paired.T}")
    control = scores.groupby("method")["permuted_test"].agg(["mean", "sem", "size"])
    print(f"\ncontrol: the same scores, test labels permuted\n{control.loc[list(methods)]}")
    seeds = range(given.permutations)
    rows = [score(name, "100", seed, permute=True) for seed in seeds for name in (RAW, LATENTS)]
    if rows:
        control = pd.DataFrame(rows).groupby("method")["auroc"].agg(["mean", "sem", "std", "size"])
        print(f"\ncontrol: labels permuted before training, 100 labels\n{control}")


if __name__ == "__main__":
    main()

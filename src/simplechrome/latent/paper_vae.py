"""The autoencoder of the SimpleChrome paper, with its errors corrected."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from simplechrome.dataset.transforms.signal import SignalTransform
from simplechrome.latent.vae import _ROWS_AT_ONCE, NetworkEncoder, kl_of
from simplechrome.training.settings import TrainingSettings
from simplechrome.work.settings import Count, Positive

# The paper minimizes, per batch of B genes of 100 bins and 5 marks,
#     mean squared error + 5e-5 · KL
#   = (1 / B) Σ_genes [ SE / 500 + 5e-5 · KL ],
# SE the squared error summed over a gene's bins and marks, KL summed over its latents. Times 500,
# in sums per gene:      SE + .025 · KL,            since 500 · 5e-5 = .025;
# divided by .025:       40 · SE + KL.
# That is the negative evidence lower bound per gene, SE / (2 σ²) + KL + a constant, for Gaussian
# noise of the variance σ² = 1 / (2 · 40) = .0125 (deviation .112 on the scale of -1 to 1).
PAPER_NOISE_VARIANCE = 5e-5 * 100 * 5 / 2


class PaperVAEModule(nn.Module):
    """The paper's network: two convolutions to a Gaussian posterior, three back.

    Parameters
    ----------
    channels
        Filters of the convolutions, in order; the decoder has them in reverse.
    kernel
        Bins that a convolution sees; odd. All strides are 1, and ends are filled with zeros.
    slope
        Of LeakyReLU below 0.
    noise_variance
        Of each bin and mark given the latent; fixed.
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        n_latent: int,
        channels: tuple[int, ...],
        kernel: int,
        slope: float,
        noise_variance: float,
    ) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.shape = (channels[-1], 1, n_bins)
        units = n_bins * channels[-1]

        def convolutions(*widths: int) -> nn.Sequential:
            # Windows are images of height 1 with marks for channels: channels-last without a copy.
            # At stride 1 the original's transposed convolutions are convolutions, kernel mirrored.
            layers: list[nn.Module] = []
            for before, after in pairwise(widths):
                layers += [
                    nn.Conv2d(before, after, (1, kernel), padding=(0, kernel // 2)),
                    nn.LeakyReLU(slope),
                ]
            return nn.Sequential(*layers)

        self.down = convolutions(n_marks, *channels)
        self.posterior = nn.Linear(units, 2 * n_latent)
        self.widen = nn.Sequential(nn.Linear(n_latent, units), nn.LeakyReLU(slope))
        self.up = convolutions(channels[-1], *reversed(channels))
        self.last = nn.Conv2d(channels[0], n_marks, 1)
        # Not a parameter: nothing is learned about the noise.
        self.register_buffer("log_noise_variance", torch.full((n_marks,), noise_variance).log())
        self._draw_weights()

    def _draw_weights(self) -> None:
        """Weights as in the original: small in convolutions, Keras's own elsewhere."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.startswith(("down", "up")):
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.xavier_uniform_(parameter)

    def encode(
        self, values: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, bin, mark), (row, mark) → posterior mean and log variance, (row, latent) each.

        A missing mark is its training mean, by the transform; the network has no mask.
        """
        features = self.down(values.permute(0, 2, 1).unsqueeze(2))
        mean, log_variance = self.posterior(features.flatten(1)).float().split(self.n_latent, dim=1)
        return mean, log_variance

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(row, latent) → (row, bin, mark), between -1 and 1."""
        features = self.widen(latents).view(-1, *self.shape)
        features = features.contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.last(self.up(features))).squeeze(2).permute(0, 2, 1).float()


@dataclass(eq=False, repr=False)
class PaperVAE(NetworkEncoder):
    """The variational autoencoder of the SimpleChrome paper, to compare with and to build on.

    Convolutions of 32 and 64 filters over five bins, LeakyReLU, one dense layer to ten means and
    log variances; back through one dense layer and convolutions of 64, 32 and as many filters as
    there are marks, tanh. Windows scaled per mark to -1 … 1 by the training maximum. Adam, five
    epochs, of which the last counts; `validation` genes are ignored.

    Latents are the network's own posterior means, **not** variance-scaled as those of `VAE`: the
    paper passes them to its perceptron as they are, and this class reproduces that.

    Parameters
    ----------
    n_latent
        Dimensions of the latent.
    channels, kernel, slope
        See `PaperVAEModule`.
    noise_variance
        Of the Gaussian noise on the scale of -1 to 1. The smaller, the less the KL weighs;
        .0125 is the paper's weight 5e-5 for 100 bins of 5 marks.
    epochs, batch_size, learning_rate, device, precision, threads
        See `TrainingSettings`.
    random_state
        Seed of weights, order and noise.

    Attributes
    ----------
    history_
        One mapping per epoch.
    best_epoch_
        The last.
    activity_ : (latent,)
        Standard deviation of each posterior mean over the training windows; the prior has 1, a
        latent that is not used has 0.
    kl_ : (latent,)
        Mean KL of each latent, nats. Far from 0 also where all windows share one offset.

    Notes
    -----
    Deviations from the released code, and why:

    - *The first convolution runs over bins, with marks for channels.* The original's ran over the
      five marks, bin by bin, so that neighboring bins were never seen together.
    - *Latents are posterior means.* The original's are random samples, also when it tests.
    - *The maximum of each mark is that of the training genes.* The original's includes test genes.
    - *Windows are shuffled in every epoch, and everything is seeded.* The original does neither.
    - *The loss is stated as the evidence lower bound per gene*: sum over bins and present marks,
      KL summed over latents, mean over genes, whatever the batch size. For whole windows of
      100 × 5 it is the original's loss times 20,000, plus a constant; Adam does not see the
      factor. With other windows the noise per bin stays the same; the original's mean would let
      the KL weigh more the more bins there are.
    - *Missing marks do not count in the loss*, and are their training mean on input. The original
      has no missing marks.
    - *All training windows are trained on.* The original holds out a tenth and does not use it.
      Its last, shorter batch is trained on here as there.
    - *LeakyReLU has the slope .5*; versions of the original differ (ReLU, .7).
    - *Adam's epsilon is PyTorch's* 1e-8, not Keras's 1e-7.

    References
    ----------
    Cheng, Murtaza & Wang, arXiv 2012.08671 (SimpleChrome), and its released code.
    """

    name = "paper_vae"
    title = "the autoencoder of the SimpleChrome paper"
    exporter = "simplechrome.export.encoders:paper_vae"
    _stops_early = False
    _more_sizes = ("noise_variance",)

    n_latent: Count = 10
    _: KW_ONLY
    slope: float = 0.5
    noise_variance: Positive = PAPER_NOISE_VARIANCE  # in place of a weight of the KL
    epochs: Count = 5
    learning_rate: Positive = 1e-4

    def _make_transform(self) -> SignalTransform:
        # Not a choice: tanh reaches no further than from -1 to 1.
        return SignalTransform("maximum")

    def _settings(self) -> TrainingSettings:
        return self.training_settings(weight_decay=0.0, max_gradient_norm=math.inf)

    def _make_module(self) -> Any:
        sizes = (self.bin_start_.size, len(self.marks_), self.n_latent, tuple(self.channels))
        return PaperVAEModule(*sizes, self.kernel, self.slope, self.noise_variance)

    @torch.inference_mode()
    def _measure_latents(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Measure how much each latent is used; the latents themselves stay as they are."""
        blocks = zip(values.split(_ROWS_AT_ONCE), present.split(_ROWS_AT_ONCE), strict=True)
        parts = [self.module_.encode(*block) for block in blocks]
        mean, log_variance = (torch.cat(part).double() for part in zip(*parts, strict=True))
        self.center_, self.map_ = np.zeros(self.n_latent), np.eye(self.n_latent)
        self.activity_ = mean.std(dim=0, correction=0).numpy()
        self.kl_ = kl_of(mean, log_variance).mean(dim=0).numpy()

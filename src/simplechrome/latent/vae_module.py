"""The network of the variational autoencoder, and its loss."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from simplechrome.training.loop import Batch, Loss, Parts

_SLOPE = 0.1
_ROWS_FOR_COMPONENTS = 50_000


class VAEModule(nn.Module):
    """A linear map and a convolutional correction to a Gaussian posterior, and the same back.

    The linear maps start at the principal components (`start_at_components`) and the
    corrections at zero: training begins where PCA ends.

    Windows are (row, bin, mark) float32: seen as an image of height 1 with marks for channels,
    that is PyTorch's channels-last layout without a copy, in which convolutions run fastest.

    Parameters
    ----------
    n_bins, n_marks, n_latent
        Any numbers from 1 up.
    channels
        Filters of each convolution; each but the first halves the bins.
    hidden
        Width of the layer between convolutions and latent, on both sides.
    kernel
        Bins that a convolution sees; odd.
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        n_latent: int,
        channels: tuple[int, ...],
        hidden: int,
        kernel: int,
    ) -> None:
        super().__init__()
        self.n_bins = n_bins
        half = kernel // 2
        down: list[nn.Module] = []
        bins = n_bins
        for layer, (before, after) in enumerate(pairwise((n_marks, *channels))):
            stride = 1 if layer == 0 else 2
            bins = (bins - 1) // stride + 1
            down += [
                nn.Conv2d(before, after, (1, kernel), stride=(1, stride), padding=(0, half)),
                nn.LeakyReLU(_SLOPE),
            ]
        self.first, self.convolutions = down[0], nn.Sequential(*down[1:])
        # What is missing is said to the first layer. Its weights start at 0 and get no gradient
        # as long as nothing is missing in training: then a missing mark is simply the mean.
        self.missing = nn.Linear(n_marks, channels[0], bias=False)
        nn.init.zeros_(self.missing.weight)
        self.narrow = nn.Sequential(nn.Linear(bins * channels[-1], hidden), nn.LeakyReLU(_SLOPE))
        self.posterior_mean = nn.Linear(hidden, n_latent)
        self.posterior_log_variance = nn.Linear(hidden, n_latent)
        self.widen = nn.Sequential(
            nn.Linear(n_latent, hidden),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(hidden, bins * channels[-1]),
            nn.LeakyReLU(_SLOPE),
        )
        self.shape = (channels[-1], 1, bins)
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(channels)):
            # An even kernel of stride 2 gives every output bin the same number of inputs.
            up += [
                nn.ConvTranspose2d(
                    before, after, (1, kernel + 1), stride=(1, 2), padding=(0, half)
                ),
                nn.LeakyReLU(_SLOPE),
            ]
        self.deconvolutions = nn.Sequential(*up)
        self.last = nn.Conv2d(channels[0], n_marks, (1, kernel), padding=(0, half))
        self.linear_in = nn.Linear(n_bins * n_marks, n_latent)
        self.linear_out = nn.Linear(n_latent, n_bins * n_marks)
        # Learned noise per mark: it weighs marks against each other and all against the KL.
        self.log_noise_variance = nn.Parameter(torch.zeros(n_marks))

    def encode(
        self, values: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, bin, mark), (row, mark) → posterior mean and log variance, (row, latent) each."""
        features = self.first(values.permute(0, 2, 1).unsqueeze(2))
        absent = self.missing((~present).to(values.dtype))
        features = features + absent[:, :, None, None]
        features = self.narrow(self.convolutions(features).flatten(1))
        mean = self.linear_in(values.flatten(1)) + self.posterior_mean(features)
        log_variance = self.posterior_log_variance(features)
        return mean.float(), log_variance.float().clamp(-12, 6)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(row, latent) → (row, bin, mark)."""
        features = self.widen(latents).view(-1, *self.shape)
        features = features.contiguous(memory_format=torch.channels_last)
        correction = self.last(self.deconvolutions(features)[..., : self.n_bins])
        correction = correction.squeeze(2).permute(0, 2, 1)
        return (self.linear_out(latents).view(correction.shape) + correction).float()

    @torch.no_grad()
    def start_at_components(self, values: torch.Tensor) -> None:
        """Set the linear maps to the principal components of these windows.

        Latents then have variance 1, as the prior wants them. Dimensions beyond the rank of the
        windows keep their random start.

        Parameters
        ----------
        values : (row, bin, mark)
        """
        rows = values[:_ROWS_FOR_COMPONENTS].flatten(1)
        center = rows.mean(dim=0)
        n_latent = self.posterior_mean.out_features
        wanted = min(n_latent + 8, *rows.shape)
        _, singular, axes = torch.pca_lowrank(rows, q=wanted, niter=4)
        deviation = singular / max(len(rows) - 1, 1) ** 0.5
        used = int((deviation[:n_latent] > 1e-4 * deviation[0]).sum())
        axes, deviation = axes[:, :used], deviation[:used]
        self.linear_in.weight[:used] = (axes / deviation).T
        self.linear_in.bias.copy_(-self.linear_in.weight @ center)
        self.linear_out.weight[:, :used] = axes * deviation
        self.linear_out.bias.copy_(center)
        left = rows - center - (rows - center) @ axes @ axes.T
        noise = left.view(-1, self.n_bins, values.shape[2]).square().mean(dim=(0, 1))
        self.log_noise_variance.copy_(noise.clamp_min(1e-4).log())
        for parameter in (*self.posterior_mean.parameters(), *self.last.parameters()):
            nn.init.zeros_(parameter)
        # A posterior that is a third as wide as the prior: the noise of the first steps must not
        # drown what the components say.
        self.posterior_log_variance.weight.mul_(0.1)
        nn.init.constant_(self.posterior_log_variance.bias, -2.0)


def elbo_loss(kl_weight: float = 1.0) -> Loss:
    """What is the negative evidence lower bound per gene?

    Sums over bins and present marks (reconstruction) and over latents (KL), then the mean over
    genes: the weight of the KL against the reconstruction does not depend on the batch size.

    Parameters
    ----------
    kl_weight
        Factor of the KL (β); 1 is the evidence lower bound.

    Returns
    -------
    A loss whose parts are `loss`, `reconstruction` and `kl`, in nats per gene.

    References
    ----------
    Kingma & Welling, arXiv 1312.6114, eq. 3 and appendix B.
    """

    def loss(module: nn.Module, batch: Batch, warmth: float) -> Parts:
        values, present = batch
        return module(values, present, kl_weight * warmth)

    return loss


class ELBO(nn.Module):
    """A `VAEModule` whose forward pass is the loss, so that data-parallel wrappers can hold it."""

    def __init__(self, vae: VAEModule) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, values: torch.Tensor, present: torch.Tensor, kl_weight: float) -> Parts:
        """Parts of the loss; see `elbo_loss`."""
        mean, log_variance = self.vae.encode(values, present)
        noise = torch.randn_like(mean)
        decoded = self.vae.decode(mean + noise * (0.5 * log_variance).exp())
        log_noise = self.vae.log_noise_variance
        error = (values - decoded).square().sum(dim=1)  # over bins: (row, mark)
        bins = values.shape[1]
        per_mark = 0.5 * (error * (-log_noise).exp() + bins * (log_noise + math.log(2 * math.pi)))
        reconstruction = (per_mark * present).sum(dim=1).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
        return {"loss": reconstruction + kl_weight * kl, "reconstruction": reconstruction, "kl": kl}

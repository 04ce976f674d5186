"""The network of DeepChrome: a convolution over bins, max-pooling, two hidden layers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from simplechrome.errors import ConfigError

# Outputs of the convolution that are made at once: as many as a core's cache of 1 MB takes.
_BLOCK = 180_000


class DeepChromeModule(nn.Module):
    """How high is expression, seen by filters of a few bins' width?

    A convolution over bins without padding, ReLU, the maximum of each `pool` positions in turn
    (positions left over at the end are not used), dropout, hidden layers with ReLU, one unit.
    The defaults are the paper's. All weights start as PyTorch's layers do; the paper does not
    say otherwise.

    A missing mark reads 0, whatever its values are, and is said to the convolution: each filter
    has a weight per mark that is added where the mark is missing. These weights start at 0 and
    get no gradient as long as nothing is missing in training: then a missing mark is simply 0.

    Parameters
    ----------
    n_bins, n_marks
        Of the window. There must be bins enough for one pooled position.
    filters
        Of the convolution.
    kernel
        Bins that a filter sees.
    pool
        Neighboring positions of which the largest counts.
    hidden
        Widths of the layers between pooling and output.
    dropout
        Share of pooled values left out in training.

    Raises
    ------
    ConfigError
        If there are fewer bins than kernel and pooling need, or a number makes no sense.

    References
    ----------
    Singh, Lanchantin, Robins & Qi, Bioinformatics 2016 (DeepChrome).
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        filters: int = 50,
        kernel: int = 10,
        pool: int = 5,
        hidden: tuple[int, ...] = (625, 125),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {
            "n_bins": n_bins,
            "n_marks": n_marks,
            "filters": filters,
            "kernel": kernel,
            "pool": pool,
        } | {f"hidden[{k}]": width for k, width in enumerate(hidden)}
        require_sizes("DeepChrome", sizes, dropout)
        if n_bins < kernel + pool - 1:
            narrower, fewer = n_bins - pool + 1, n_bins - kernel + 1
            fitting = [f"a kernel of {narrower} or less"] if narrower > 0 else []
            fitting += [f"a pool of {fewer} or less"] if fewer > 0 else []
            raise ConfigError(
                "The windows have too few bins for DeepChrome.",
                found=f"{n_bins} bins",
                expected=f"at least {kernel + pool - 1}: kernel {kernel}, pool {pool}",
                remedy=", or ".join([*fitting, "a dataset with more bins"]),
            )
        self.pool = pool
        self.windows = (n_bins - kernel + 1) // pool
        # Bins that are seen: those beyond the last whole pool would only cost time.
        self.seen = self.windows * pool + kernel - 1
        self.convolution = nn.Conv1d(n_marks, filters, kernel)
        self.missing = nn.Linear(n_marks, filters, bias=False)
        nn.init.zeros_(self.missing.weight)
        layers: list[nn.Module] = [Dropout(dropout)]
        for before, after in pairwise((self.windows * filters, *hidden)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = hidden[-1] if hidden else self.windows * filters
        self.dense = nn.Sequential(*layers, nn.Linear(last, 1), nn.Flatten(0))

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(row, bin, mark), (row, mark) bool → (row,), log odds or level."""
        values = torch.where(present[:, None], values, 0)[:, : self.seen]
        absent = self.missing((~present).to(values.dtype))
        kernel = self.convolution.weight  # (filter, mark, bin)
        # In half precision the library's convolution is worth its memory traffic.
        autocast = torch.is_autocast_enabled("cpu")
        if runs_by_hand(values) and not (autocast or values.requires_grad):
            matrix = kernel.permute(2, 1, 0).flatten(0, 1)
            offset = absent + self.convolution.bias
            pooled = _ConvolveAndPool.apply(values, matrix, offset, self.pool)
        else:
            levels = functional.max_pool1d(self.convolution(values.transpose(1, 2)), self.pool)
            pooled = functional.relu(levels + absent[:, :, None]).transpose(1, 2)
        return self.dense(pooled.flatten(1))


class Dropout(nn.Module):
    """What `nn.Dropout` does, with random numbers that cost less on a CPU.

    PyTorch draws one after the other there: with 625 filters an eighth of DeepChrome's training.
    Here 64 random bits serve four values, so that the share is a multiple of 1/65536.

    Parameters
    ----------
    share
        Of values that are set to 0 in training; the others are scaled up by 1 / (1 - share).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def extra_repr(self) -> str:
        """Show the share where the module is printed."""
        return f"share={self.share}"

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape → the same shape."""
        if not self.training or self.share == 0:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.share)
        n = values.numel()
        bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        out = min(round(self.share * 2**16), 2**16 - 1)
        kept = bits.view(torch.int16)[:n] >= out - 2**15
        return values * kept.view(values.shape).to(values.dtype).mul_(1 / (1 - out / 2**16))


def require_sizes(network: str, sizes: dict[str, int], dropout: float) -> None:
    """Are all sizes at least 1, and is dropout a share below 1?

    Raises
    ------
    ConfigError
        If not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(
                f"{network} cannot have {name} of {size}.", found=str(size), expected="1 or more"
            )
    if not 0 <= dropout < 1:
        raise ConfigError(
            f"{network} cannot leave out this share of values.",
            found=f"dropout {dropout:g}",
            expected="0 or more, and less than 1",
        )


def runs_by_hand(values: torch.Tensor) -> bool:
    """Are the hand-written passes of this package the right ones for these values?

    They are faster on a CPU in full precision. Elsewhere the library's kernels are, and whoever
    traces or exports a network wants to see its layers.
    """
    return (
        values.device.type == "cpu"
        and values.dtype in (torch.float32, torch.float64)
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


def in_threads(function: Callable[[int], Any], count: int) -> list[Any]:
    """Call the function with 0 … count - 1, each call in one thread.

    PyTorch's own threads would wait for each other at each of a step's calls.
    """

    # Both are a thread's own.
    inference = torch.is_inference_mode_enabled()

    def call(k: int) -> Any:
        with torch.inference_mode(inference), torch.no_grad():
            return function(k)

    threads = torch.get_num_threads()
    if threads == 1:
        return [call(k) for k in range(count)]
    return list(_pool(threads, os.getpid()).map(call, range(count)))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Make threads whose own calls do not start threads; a forked process needs its own."""
    before, all_there = torch.get_num_threads(), threading.Barrier(threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(threads, "simplechrome", begin)
    for _ in range(threads):
        pool.submit(int)
    all_there.wait()
    # The number is a thread's own, but new threads begin with the one that was set last.
    torch.set_num_threads(before)
    return pool


class _ConvolveAndPool(torch.autograd.Function):
    """Convolution, maximum and ReLU of a block of rows at a time.

    The maximum is taken while the convolution is still in the cache, and only the position that
    it came from is kept: the convolution of a whole batch is never written to memory. Adding the
    offset after the maximum changes nothing, as it is the same for all positions.
    """

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor, pool: int
    ) -> torch.Tensor:
        """(row, bin, mark), (kernel * mark, filter), (row, filter) → (row, window, filter)."""
        patches = _patches(values, len(matrix), pool)
        pooled = matrix.new_empty(len(values), patches.shape[2], matrix.shape[1])
        position = torch.zeros(pooled.shape, dtype=torch.uint8)
        parts = _parts(*pooled.shape)

        def convolve(k: int) -> None:
            other, larger = (torch.empty_like(x[: parts[k].step]) for x in (pooled, position))
            for rows in _blocks(parts[k]):
                patch = patches[:, rows].reshape(pool, -1, len(matrix))
                best, origin = pooled[rows].flatten(0, 1), position[rows].flatten(0, 1)
                new, is_new = (x.flatten(0, 1)[: len(best)] for x in (other, larger))
                torch.mm(patch[0], matrix, out=best)
                for j in range(1, pool):
                    torch.mm(patch[j], matrix, out=new)
                    torch.gt(new, best, out=is_new.view(torch.bool))
                    torch.maximum(origin, is_new.mul_(j), out=origin)
                    torch.maximum(best, new, out=best)
                pooled[rows].add_(offset[rows, None]).clamp_min_(0)

        in_threads(convolve, len(parts))
        ctx.pool = pool
        ctx.save_for_backward(values, matrix, pooled, position)
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Of matrix and offset; values get none."""
        values, matrix, pooled, position = ctx.saved_tensors
        patches = _patches(values, len(matrix), ctx.pool)
        parts = _parts(*pooled.shape)
        d_offset = matrix.new_empty(len(values), matrix.shape[1])

        def weigh(k: int) -> torch.Tensor:
            d_matrix = torch.zeros_like(matrix)
            scratch = torch.empty_like(pooled[: parts[k].step])
            for rows in _blocks(parts[k]):
                patch = patches[:, rows].reshape(ctx.pool, -1, len(matrix))
                alive = torch.ops.aten.threshold_backward(gradient[rows], pooled[rows], 0)
                torch.sum(alive, dim=1, out=d_offset[rows])
                chosen = scratch[: len(alive)]
                for j in range(ctx.pool):
                    torch.mul(alive, position[rows] == j, out=chosen)
                    d_matrix.addmm_(patch[j].T, chosen.flatten(0, 1))
            return d_matrix

        return None, sum(in_threads(weigh, len(parts))), d_offset, None


def _parts(rows: int, windows: int, filters: int) -> list[range]:
    """Cut rows into a part for each thread; its steps are as many rows as the cache takes."""
    size = max(1, -(-rows // torch.get_num_threads()))
    step = min(size, max(1, _BLOCK // (windows * filters)))
    return [range(start, min(start + size, rows), step) for start in range(0, rows, size)]


def _blocks(part: range) -> list[slice]:
    return [slice(start, min(start + part.step, part.stop)) for start in part]


def _patches(values: torch.Tensor, size: int, pool: int) -> torch.Tensor:
    """Views what the filters see: (pool position, row, window, bin, mark), without a copy."""
    rows, marks = len(values), values.shape[2]
    kernel = size // marks
    # The window before the last, as `unfold` makes it; its bins in front of the marks.
    patches = values.unfold(1, kernel, 1).transpose(2, 3)
    return patches.view(rows, -1, pool, kernel, marks).permute(2, 0, 1, 3, 4)

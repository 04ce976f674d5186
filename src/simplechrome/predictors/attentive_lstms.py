"""The LSTMs of all marks, both ways along the bins, and attention over bins, as one operation."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import add, bmm, mul, sigmoid, sub

from simplechrome.predictors.deepchrome_module import in_threads

# Rows that one thread takes at a time: their gates of one bin, all marks and both directions,
# stay in a cache of 1 MB. With less than the minimum, calls cost more than what they compute.
_MOST_ROWS, _FEWEST_ROWS = 256, 64
through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input


class _Walk:
    """One walk along the bins and back: all marks, both directions, a block of rows.

    In the dimension `way`, the marks walked forwards come before the marks walked backwards.
    Rows are last, so that each gate is one stretch of memory and a step is one product of
    matrices (gate, state) × (state, row). The state has two rows more than the hidden units, the
    bin's signal and 1: with them the product takes up input weights and biases as well.

    Parameters
    ----------
    like
        A tensor of the wanted type.
    sizes
        Steps, marks, hidden units, rows.
    keep
        Whether to keep what the way back needs.
    """

    def __init__(self, like: torch.Tensor, sizes: tuple[int, int, int, int], keep: bool) -> None:
        self.made_for = sizes, keep, like.dtype
        self.owner: object = None
        steps, marks, hidden, rows = sizes
        kept = steps if keep else 1
        # Else memory that is made in inference mode could not be written to outside of it.
        with torch.inference_mode(False):
            self.states = like.new_empty(steps + 1, 2 * marks, hidden + 2, rows)
            gates = like.new_empty(kept, 2 * marks, 4, hidden, rows)
            cells = like.new_empty(kept, 2 * marks, hidden, rows)
            self.start = like.new_empty(2 * marks, hidden, rows)
        self.states[0, :, :hidden] = 0
        self.states[:, :, hidden + 1] = 1
        # Views of each step, made once: 100 steps of some 20 calls leave little time for more.
        self.state = self.states.unbind()
        self.hidden = self.states[:, :, :hidden].unbind()
        turns = steps // kept  # a step that keeps nothing writes over the one before it
        self.gate = gates.flatten(2, 3).unbind() * turns
        self.input, self.forget, self.candidate, self.output = (
            gates[:, :, k].unbind() * turns for k in range(4)
        )
        self.cell = cells.unbind() * turns

    def there(
        self, by_bin: torch.Tensor, weights: torch.Tensor, contexts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Walk, then attend: (bin, mark, row) → mean (way, hidden, row), weight (bin, mark, row).

        These are an LSTM's steps with tanh(x) = 2 sigmoid(2x) - 1, as PyTorch's sigmoid is by
        far faster than its tanh on some CPUs. For it the candidates' weights come doubled, and
        cells are kept doubled.
        """
        steps, marks, rows = by_bin.shape
        self.states[:-1, :marks, -2] = by_bin
        self.states[:-1, marks:, -2] = by_bin.flip(0)
        minus_one, minus_two = by_bin.new_tensor(-1), by_bin.new_tensor(-2)
        scores = by_bin.new_empty(steps, 2 * marks, 1, rows)
        spare, before = torch.empty_like(self.start), self.start.zero_()
        for state, gate, into, keep, candidate, out, cell, hidden, score in zip(
            self.state[:-1],
            self.gate,
            self.input,
            self.forget,
            self.candidate,
            self.output,
            self.cell,
            self.hidden[1:],
            scores.unbind(),
            strict=True,
        ):
            bmm(weights, state, out=gate).sigmoid_()
            add(minus_two, candidate, alpha=4, out=spare)
            mul(before, keep, out=cell).addcmul_(into, spare)
            sigmoid(cell, out=spare)
            add(minus_one, spare, alpha=2, out=spare)
            mul(out, spare, out=hidden)
            bmm(contexts, hidden, out=score)
            before = cell
        attention = _both_ways_summed(scores).softmax(dim=0)
        mean = torch.zeros_like(spare)
        for state, weight in zip(self.hidden[1:], _both_ways(attention).unbind(), strict=True):
            mean.addcmul_(state, weight)
        return mean, attention

    def back(
        self,
        d_mean: torch.Tensor,
        mean: torch.Tensor,
        attention: torch.Tensor,
        weights: torch.Tensor,
        contexts: torch.Tensor,
        wants_signal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Walk back: (way, hidden, row) → gradients of weights, contexts and signal.

        Those of weights and contexts are transposed: (way, state, gate) and (way, hidden, 1).
        """
        steps, marks, rows = attention.shape
        hidden = contexts.shape[2]
        # Through the softmax. The mean gradient under the attention is that of the mean itself.
        d_attention = attention.new_empty(steps, 2 * marks, 1, rows)
        product = torch.empty_like(self.start)
        for state, d_weight in zip(self.hidden[1:], d_attention.unbind(), strict=True):
            torch.mul(state, d_mean, out=product)
            torch.sum(product, 1, keepdim=True, out=d_weight)
        common = _both_ways_summed((d_mean * mean).sum(dim=1, keepdim=True)[None])
        d_scores = attention * (_both_ways_summed(d_attention) - common)
        d_score, weight = _both_ways(d_scores).unbind(), _both_ways(attention).unbind()
        d_score_by_row = _both_ways(d_scores).mT.unbind()

        # The gates' gradients lack factors of their ways on, which are in here.
        factors = weights.new_tensor([1, 1, 4, 2]).repeat_interleave(hidden)
        backwards = (weights * factors[:, None]).mT.contiguous()
        d_weights, d_contexts = torch.zeros_like(backwards), torch.zeros_like(contexts).mT
        d_signal = attention.new_empty(steps, 2 * marks, rows) if wants_signal else None
        minus_two = d_mean.new_tensor(-2)
        d_state = torch.zeros_like(self.state[0])
        d_hidden = d_state[:, :hidden]
        d_gate, d_product = torch.empty_like(self.gate[0]), torch.empty_like(self.gate[0])
        d_into, d_keep, d_candidate, d_out = d_gate.chunk(4, dim=1)
        half, d_cell = torch.empty_like(self.start), torch.zeros_like(self.start)
        contexts, by_row = contexts.mT, d_product.mT
        for step in range(steps - 1, -1, -1):
            out = self.output[step]
            d_hidden.addcmul_(d_mean, weight[step]).addcmul_(contexts, d_score[step])
            d_contexts.baddbmm_(self.hidden[step + 1], d_score_by_row[step])
            sigmoid(self.cell[step], out=half)
            mul(d_hidden, half, out=product)
            sub(product, d_hidden, alpha=0.5, out=d_out)
            product.mul_(out)
            d_cell.add_(product, alpha=2).addcmul_(product, half, value=-2)
            mul(d_cell, self.cell[step - 1] if step else self.start, out=d_keep)
            add(minus_two, self.candidate[step], alpha=4, out=product)
            mul(d_cell, product, out=d_into)
            mul(d_cell, self.input[step], out=d_candidate)
            through_sigmoid(d_gate, self.gate[step], grad_input=d_product)
            d_cell.mul_(self.forget[step])
            bmm(backwards, d_product, out=d_state)
            d_weights.baddbmm_(self.state[step], by_row)
            if d_signal is not None:
                d_signal[step] = d_state[:, hidden]
        # The candidates' weights were doubled, too.
        d_weights *= factors * weights.new_tensor([1, 1, 2, 1]).repeat_interleave(hidden)
        if d_signal is not None:
            d_signal = _both_ways_summed(d_signal[:, :, None])
        return d_weights, d_contexts, d_signal


def _both_ways(by_bin: torch.Tensor) -> torch.Tensor:
    """(bin, mark, row) → (step, way, 1, row): the marks walked backwards begin at the last bin."""
    return torch.cat([by_bin, by_bin.flip(0)], dim=1)[:, :, None]


def _both_ways_summed(by_step: torch.Tensor) -> torch.Tensor:
    """(step, way, 1, row) → (bin, mark, row): the sum of both directions."""
    forwards, backwards = by_step.squeeze(2).chunk(2, dim=1)
    return forwards + backwards.flip(0)


class Memory:
    """Walks that were used and can be used again.

    A batch of 256 windows takes 200 MB. Asking the operating system for them in each step would
    cost a quarter of the step.
    """

    def __init__(self) -> None:
        self._free: list[_Walk] = []
        self._lock = threading.Lock()

    def take(self, like: torch.Tensor, sizes: tuple[int, int, int, int], keep: bool) -> _Walk:
        """Hand out a walk of these steps, marks, hidden units and rows."""
        with self._lock:
            fitting = [w for w in self._free if w.made_for == (sizes, keep, like.dtype)]
            if fitting:
                self._free.remove(fitting[0])
            elif self._free:
                del self._free[0]  # so that batches of many sizes do not pile up
        walk = fitting[0] if fitting else _Walk(like, sizes, keep)
        walk.owner = None
        return walk

    def give(self, walk: _Walk) -> None:
        """Take back a walk; until the next one takes it, it stays as it is."""
        with self._lock:
            if walk not in self._free:
                self._free.append(walk)

    def clear(self) -> None:
        """Give all memory back to the operating system."""
        self._free.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


class AttentiveLSTMs(torch.autograd.Function):
    """The bidirectional LSTMs of all marks with their attention, there and back.

    The same numbers as `nn.LSTM` and autograd give. The library's LSTM, called mark by mark, is
    slower by half in scoring and more than by half in training: it makes a separate product of
    matrices for each mark, direction and bin, and autograd keeps far more than is needed. Blocks
    of rows are independent of each other; each thread walks one of them from end to end and back.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(
        ctx: Any,
        by_bin: torch.Tensor,
        weights: torch.Tensor,
        contexts: torch.Tensor,
        memory: Memory,
        keep: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Walk there. If nothing is kept, there is no way back.

        In a weight's dimension `state` come the hidden units, the signal and the bias.

        (bin, mark, row), (way, gate, state), (way, 1, hidden)
        → mean (mark, row, both directions), attention (bin, mark, row)
        """
        hidden = contexts.shape[2]
        weights = weights.detach().clone()
        weights[:, 2 * hidden : 3 * hidden] *= 2  # see `_Walk.there`
        steps, marks, rows = by_bin.shape
        blocks, owner = _blocks(rows), object()

        def walk_there(k: int) -> tuple[torch.Tensor, torch.Tensor, _Walk]:
            walk = memory.take(by_bin, (steps, marks, hidden, len(blocks[k])), keep)
            part = by_bin[:, :, blocks[k].start : blocks[k].stop]
            mean, attention = walk.there(part, weights, contexts)
            walk.owner = owner
            if not keep:
                memory.give(walk)
            return mean, attention, walk

        each_mean, each_attention, ctx.walks = zip(
            *in_threads(walk_there, len(blocks)), strict=True
        )
        means, attention = torch.cat(each_mean, 2), torch.cat(each_attention, 2)
        ctx.memory, ctx.blocks, ctx.owner = memory, blocks, owner
        ctx.save_for_backward(by_bin, weights, contexts, means, attention)
        ctx.mark_non_differentiable(attention)
        by_mark = means.unflatten(0, (2, marks)).permute(1, 3, 0, 2).flatten(2)
        return by_mark, attention

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(  # type: ignore[override]
        ctx: Any, d_by_mark: torch.Tensor, d_attention: None
    ) -> tuple[torch.Tensor | None, ...]:
        """Gradients of signal, weights and contexts; attention is given without one."""
        by_bin, weights, contexts, means, attention = ctx.saved_tensors
        hidden = contexts.shape[2]
        d_means = d_by_mark.unflatten(2, (2, hidden)).permute(2, 0, 3, 1).flatten(0, 1)

        def walk_back(k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
            part, walk = slice(ctx.blocks[k].start, ctx.blocks[k].stop), ctx.walks[k]
            if walk.owner is not ctx.owner:
                # Going back a second time, and others have used the memory since.
                walk = _Walk(by_bin, *ctx.walks[k].made_for[:2])
                walk.there(by_bin[:, :, part], weights, contexts)
            return walk.back(
                d_means[:, :, part].contiguous(),
                means[:, :, part],
                attention[:, :, part],
                weights,
                contexts,
                ctx.needs_input_grad[0],
            )

        parts = in_threads(walk_back, len(ctx.blocks))
        for walk in ctx.walks:
            ctx.memory.give(walk)
        d_weights, d_contexts, d_by_bin = zip(*parts, strict=True)
        d_signal = torch.cat(d_by_bin, 2) if ctx.needs_input_grad[0] else None
        return d_signal, sum(d_weights).mT, sum(d_contexts).mT, None, None


def _blocks(rows: int) -> list[range]:
    """Rows as each thread takes them: blocks of equal size, as many as keep all threads busy."""
    threads = torch.get_num_threads()
    count = -(-rows // _MOST_ROWS)
    count = min(-(-count // threads) * threads, max(count, rows // _FEWEST_ROWS))
    size = -(-rows // max(count, 1))
    return [range(start, min(start + size, rows)) for start in range(0, rows, max(size, 1))]

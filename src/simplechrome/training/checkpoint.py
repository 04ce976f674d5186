"""The state of a training in one file, from which it is resumed bit for bit.

`last.safetensors` holds weights, the best weights so far, the optimizer's averages and the random
states as arrays, and the history as JSON in its header: one file, replaced in one step, is always
of one epoch. `best.safetensors` holds the best weights alone, for use elsewhere. No pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from simplechrome.errors import ModelFormatError
from simplechrome.work.files import whole_file

LAST, BEST = "last.safetensors", "best.safetensors"
_PARTS = ("weights", "best", "optimizer", "random")  # of `State`, after `progress`


class Progress(NamedTuple):
    """How far a training has come.

    task : checksum of settings and rows; a state is resumed only for the same
    history : one mapping per epoch
    best_epoch : from 1; 0 if no epoch counted yet
    best_loss : of that epoch
    steps_done : optimizer steps
    threads : CPU threads; another number gives sums in another order
    """

    task: str
    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float | None
    steps_done: int
    threads: int


class State(NamedTuple):
    """All that is needed to resume a training; tensors on the CPU, contiguous.

    weights, best_weights : by the module's names
    optimizer : "INDEX/NAME" of the parameter's position and the optimizer's name
    random : generator states, uint8: `order` of the rows, `cpu`, and the device's own
    """

    progress: Progress
    weights: dict[str, torch.Tensor]
    best_weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    random: dict[str, torch.Tensor]


def describe_task(settings: Mapping[str, Any], tensors: Iterable[torch.Tensor]) -> str:
    """Return a checksum of the settings and the rows of a training."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def optimizer_arrays(module: torch.nn.Module, optimizer: Any) -> dict[str, torch.Tensor]:
    """Return the optimizer's averages of each parameter; see `State.optimizer`."""
    return {
        f"{position}/{name}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for position, parameter in enumerate(module.parameters())
        for name, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    module: torch.nn.Module, optimizer: Any, arrays: Mapping[str, torch.Tensor]
) -> None:
    """Restore in an optimizer what `optimizer_arrays` returned."""
    parameters = list(module.parameters())
    for key, value in arrays.items():
        position, name = key.split("/", 1)
        parameter = parameters[int(position)]
        # Averages lie in memory as their parameter does (channels-last): in another order,
        # vectorized arithmetic may round the last digit otherwise.
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).detach().copy_(value)
        optimizer.state[parameter][name] = value


def write_state(folder: str | Path, state: State) -> None:
    """Write the state of a training, whole or not at all."""
    parts = zip(_PARTS, state[1:], strict=True)
    tensors = {f"{part}/{name}": tensor for part, held in parts for name, tensor in held.items()}
    # Python's repr of a float reads back to the same float.
    header = {"progress": json.dumps(state.progress._asdict(), allow_nan=False)}
    for file, held, metadata in ((LAST, tensors, header), (BEST, state.best_weights, None)):
        if not held:
            continue
        with whole_file(Path(folder) / file) as path:
            try:
                save_file(held, path, metadata=metadata)
            except SafetensorError as error:  # as on a full disk; it is no OSError
                raise OSError(str(error)) from error


def read_state(folder: str | Path) -> State | None:
    """Return the state that was written last, None if there is none; refuse a damaged one."""
    path = Path(folder) / LAST
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelFormatError(
            f"{path} is not a whole checkpoint ({type(error).__name__}: {error}).",
            "start again with --overwrite",
        ) from error

    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = tensor
    return State(progress, *parts.values())


def epochs_done(folder: str | Path) -> int:
    """Return the epochs after which the state was written, from the header; 0 if there is none."""
    try:
        with safe_open(Path(folder) / LAST, framework="pt") as file:
            return len(json.loads(file.metadata()["progress"])["history"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0

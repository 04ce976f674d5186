"""The window itself, transformed: what every encoder is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from simplechrome.dataset.transforms.signal import TransformFunction, Windows
from simplechrome.latent.window_encoder import WindowEncoder


class RawWindow(WindowEncoder):
    """No compression: log1p of each bin, one mean and scale per mark.

    Windows come with the coordinate `present` (cell_type, gene, mark): where it is False the mark
    is missing, and its values are the mark's training mean.

    Parameters
    ----------
    transform_function
        See `SignalTransform`.
    """

    name = "none"
    gives_latents = False

    def __init__(self, transform_function: TransformFunction = "log1p") -> None:
        self.transform_function = transform_function

    @property
    def n_latent_(self) -> int:
        """Bins times marks."""
        return len(self.marks_) * self.bin_start_.size

    def _latent_dims(self) -> tuple[str, ...]:
        return ("bin", "mark")

    def _latent_coords(self) -> dict[str, Any]:
        marks = np.asarray(self.marks_, dtype=object)
        return {"mark": marks, "bin_start": ("bin", self.bin_start_)}

    def _gene_coords(self, present: np.ndarray) -> dict[str, Any]:
        return {"present": (("cell_type", "gene", "mark"), present)}

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        pass

    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        return values

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        return latents

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        pass

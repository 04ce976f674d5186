"""Base class of predictors: fit, predict, save and load, on labelled arrays and on plain ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from simplechrome.errors import ModelMismatchError, first_names
from simplechrome.predictors.rows import (
    PAIR,
    Rows,
    feature_names,
    flatten,
    inner_folds,
    known_targets,
    labelled_rows,
    pair_coords,
    require_two_classes,
)
from simplechrome.training.model_files import read_model, restoring, write_model
from simplechrome.work.settings import Task, check_options


def _classifies(predictor: Predictor) -> bool:
    # scikit-learn asks for class probabilities by `hasattr`, so regression must have none.
    return predictor.task == "classification"


@dataclass(eq=False, repr=False)
class Predictor(BaseEstimator):
    """A map from features to expression.

    On labelled arrays (cell_type, gene, …) cell types are stacked and genes without a label are
    dropped; on plain two-dimensional arrays it is an ordinary scikit-learn estimator of two
    classes, or of a number.

    A subclass has its arguments as fields of a dataclass, with the bounds of their values in the
    annotations, and implements `_fit_rows`, `_predict_rows`, `_state` and `_restore`. See
    `simplechrome.register_predictor` for its use by name.

    Parameters
    ----------
    task
        `classification` or `regression`.

    Attributes
    ----------
    name
        In options and files.
    title
        In the sentences of reports, with its article.
    color
        In figures, on a light and on a dark page; None for the color of its features.
    random
        Whether predictions depend on the seed even with all labels.
    needs_windows
        Whether features must be windows (bin, mark), not latents.
    needs_neighbors
        Whether features are `NeighborhoodFeatures`.
    prefers_cpu
        Whether it is too small for a GPU to pay: a run's device is then not passed on.
    exporter
        `module:function` that adds it to a graph for ONNX and Keras: (graph, predictor, features,
        present) to a node (row, 1). A subclass does not inherit it, as it may compute something
        else.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    color: ClassVar[tuple[str, str] | None] = None
    random: ClassVar[bool] = True
    needs_windows: ClassVar[bool] = False
    needs_neighbors: ClassVar[bool] = False
    prefers_cpu: ClassVar[bool] = False
    exporter: ClassVar[str] = ""

    task: Task = "classification"

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a classifier or a regressor, as `task` says."""
        from sklearn.utils import ClassifierTags, RegressorTags

        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.task == "regression":
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    def fit(
        self,
        x: xr.DataArray | np.ndarray,
        y: xr.DataArray | np.ndarray,
        *,
        validation: tuple[Any, Any] | None = None,
    ) -> Self:
        """Learn expression from features.

        Nothing but the rows given here chooses anything: penalties and epochs are found by
        cross-validation inside them, or on `validation` where that is given.

        Parameters
        ----------
        x : (cell_type, gene, …) labelled, or (row, feature)
        y : (cell_type, gene) labelled, or (row,)
            Labels 1, 0 (-1 unknown), or expression as it shall be predicted (NaN unknown).
        validation
            The same two of other genes, for choices; not for learning.

        Raises
        ------
        UndefinedScoreError
            If all labels are of one class.
        MissingExpressionError
            If no gene has a label.
        ConfigError
            If an argument of the predictor is out of bounds.
        """
        check_options(self)
        seen = self._see(x)
        if isinstance(seen, xr.DataArray):
            rows = labelled_rows(seen, y, self.task)
            self.features_ = feature_names(seen)
            self.n_features_in_ = len(self.features_)
        else:
            # Names of labelled features that an earlier fit saw.
            self.__dict__.pop("features_", None)
            numeric = self.task == "regression"
            rows = Rows(*validate_data(self, seen, y, y_numeric=numeric, **self._checks(x)))
        held_out = None
        if validation is not None:
            out = self._see(validation[0])
            if isinstance(out, xr.DataArray):
                held_out = labelled_rows(out, validation[1], self.task)
            else:
                held_out = Rows(np.asarray(out), np.asarray(validation[1]))
        if self.task == "classification":
            rows = Rows(rows.x, self._encode_classes(rows.y))
            if held_out is not None:
                held_out = Rows(held_out.x, (held_out.y == self.classes_[1]).astype(np.int8))
        self._fit_rows(rows, held_out)
        return self

    def _see(self, x: Any) -> Any:
        """Return what of the input becomes rows: all of it, unless a subclass overrides this."""
        return x

    def _checks(self, x: Any) -> dict[str, Any]:
        """Return more arguments of scikit-learn's `validate_data`, which sees plain arrays."""
        return {}

    def _encode_classes(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if self.classes_.size > 2:
            # The wording is scikit-learn's, whose own checks look for it.
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass."
            )
        require_two_classes(y)
        return encoded.astype(np.int8)

    def _inner_folds(self, rows: Rows) -> list[tuple[Rows, Rows]]:
        """Return the rows to learn from and those held out, of each fold; see `inner_folds`."""
        options: Any = self
        folds = inner_folds(
            rows,
            self.task,
            n_folds=options.n_folds,
            seed=options.random_state,
            hold_out_from=getattr(self, "hold_out_from", np.inf),
        )
        return [(rows.at(inside), rows.at(out)) for inside, out in folds]

    def _rows(self, x: Any) -> tuple[Any, np.ndarray]:
        """Return what `_see` makes of the input, and its rows (row, feature), checked."""
        check_is_fitted(self)
        seen = self._see(x)
        if not isinstance(seen, xr.DataArray):
            return seen, np.asarray(validate_data(self, seen, reset=False, **self._checks(x)))
        rows = flatten(seen)
        have, want = feature_names(seen), getattr(self, "features_", None)
        if rows.shape[1] != self.n_features_in_ or (want is not None and have != want):
            raise ModelMismatchError(
                f"The {len(have)} features ({first_names(have, 4)}) are not the "
                f"{self.n_features_in_} ({first_names(want or [], 4)}) that the predictor was "
                "fitted on.",
                "transform the data with the encoder whose latents the predictor was fitted on",
            )
        return seen, rows

    def _predict(self, x: Any) -> tuple[Any, np.ndarray]:
        seen, rows = self._rows(x)
        return seen, self._predict_rows(rows)

    @available_if(_classifies)
    def decision_function(self, x: xr.DataArray | np.ndarray) -> xr.DataArray | np.ndarray:
        """Return the log odds of the higher class, (cell_type, gene) or (row,)."""
        return self._like(*self._predict(x))

    @available_if(_classifies)
    def predict_proba(self, x: xr.DataArray | np.ndarray) -> xr.DataArray | np.ndarray:
        """Return the probability of each class, (cell_type, gene, label) or (row, class)."""
        seen, log_odds = self._predict(x)
        high = 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))  # without overflow
        both = np.stack([1 - high, high], axis=1)
        if not isinstance(seen, xr.DataArray):
            return both
        return xr.DataArray(
            both.reshape(*seen.shape[:2], 2),
            dims=(*PAIR, "label"),
            coords=pair_coords(seen) | {"label": self.classes_},
            name="probability",
        )

    def predict(self, x: xr.DataArray | np.ndarray) -> xr.DataArray | np.ndarray:
        """Return the class or the expression of each gene, (cell_type, gene) or (row,)."""
        seen, values = self._predict(x)
        if self.task == "classification":
            values = self.classes_[(values > 0).astype(int)]
        return self._like(seen, values)

    def score(self, x: xr.DataArray | np.ndarray, y: xr.DataArray | np.ndarray) -> float:
        """Return the accuracy, or R², which scikit-learn's model selection uses.

        On labelled arrays genes without a label do not count, as in `fit`.
        """
        from simplechrome.metrics import r_squared

        predicted, truth = np.asarray(self.predict(x)).ravel(), np.asarray(y).ravel()
        if isinstance(x, xr.DataArray):
            truth = labelled_rows(x, y, self.task).y
            predicted = predicted[known_targets(y, self.task)]
        if self.task == "regression":
            return r_squared(truth.astype(float), predicted.astype(float))
        return float(np.mean(predicted == truth))

    @staticmethod
    def _like(x: xr.DataArray | np.ndarray, values: np.ndarray) -> xr.DataArray | np.ndarray:
        if not isinstance(x, xr.DataArray):
            return values
        return xr.DataArray(values.reshape(x.shape[:2]), dims=PAIR, coords=pair_coords(x))

    @abstractmethod
    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        """Learn; y is 0 or 1 in classification."""

    @abstractmethod
    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        """(row, feature) → log odds of the higher class, or the predicted value."""

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what the subclass learned: plain JSON, and arrays."""

    @abstractmethod
    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Restore what `_state` returned."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the predictor to a folder, without pickle."""
        check_is_fitted(self)
        numbers, arrays = self._state()
        description = {
            "arguments": self.get_params(),
            "classes": self.classes_.tolist() if self.task == "classification" else None,
            "n_features": int(self.n_features_in_),
            "features": getattr(self, "features_", None),
            "fitted": numbers,
        }
        write_model(folder, type(self).__name__, description, arrays, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a predictor of this class from a folder.

        Raises
        ------
        ModelFormatError, ModelMismatchError
            If the folder is not a saved model, or one of another class.
        """
        description, arrays = read_model(folder, cls)
        with restoring(folder):
            predictor = cls(**description["arguments"])
            if description["classes"] is not None:
                predictor.classes_ = np.asarray(description["classes"])
            predictor.n_features_in_ = description["n_features"]
            if description["features"] is not None:
                predictor.features_ = description["features"]
            predictor._restore(description["fitted"], arrays)
        return predictor

"""The description of an exported model, as JSON and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.export.chain import Port, model_inputs
from simplechrome.runs.ensemble import Ensemble
from simplechrome.version import __version__

if TYPE_CHECKING:
    from simplechrome.runs.load import Models

EXPORT_VERSION = 1

_EXAMPLES = {
    "keras": """\
import keras, numpy
model = keras.saving.load_model("model.keras")
signal = numpy.random.default_rng(0).poisson(3, ({rows}, {bins}, {marks})).astype("float32")
present = numpy.ones(({rows}, {marks}), "float32")
answers = model.predict({{"signal": signal, "present": present}})
""",
    "onnx": """\
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
signal = numpy.random.default_rng(0).poisson(3, ({rows}, {bins}, {marks})).astype("float32")
present = numpy.ones(({rows}, {marks}), "float32")
answers = session.run({names}, {{"signal": signal, "present": present}})
""",
}

_README = """\
# {title}

Exported by SimpleChrome {version} as {format}; it runs without SimpleChrome.
{task}

```python
{example}```

{files}

## In

Any number of rows, float32. A mark that was not assayed has `present` 0; its signal is
ignored.

{inputs}

Marks, in this order: {marks}.
Bins: {bins} of {bin_size} bp in the direction of transcription; the first begins {first} bp from
the TSS (negative is upstream).

## Out

{outputs}

{calibration}

`export.json` has the same for programs.
"""


def describe(models: Models, files: dict[str, dict[str, list[Port]]]) -> dict[str, Any]:
    """Describe an exported run as plain JSON.

    Parameters
    ----------
    models
        That were exported.
    files
        File name → `inputs` and `outputs`.
    """
    encoder, predictor = models.encoder, models.predictor
    members = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    starts = encoder.bin_start_.tolist()
    calibration = None if models.uncertainty is None else models.uncertainty.calibration
    return {
        "export_version": EXPORT_VERSION,
        "simplechrome": __version__,
        "task": predictor.task,
        "encoder": type(encoder).__name__,
        "predictor": type(members[0]).__name__,
        "ensemble": len(members),
        "calibration": "none" if calibration is None else calibration.method,
        "marks": encoder.marks_,
        "units": encoder.units_,
        "bin_start": starts,
        "bin_size": starts[1] - starts[0] if len(starts) > 1 else None,
        "files": {
            file: {side: [_describe_port(port) for port in ports] for side, ports in sides.items()}
            for file, sides in files.items()
        },
    }


def _describe_port(port: Port) -> dict[str, Any]:
    shape = [port.dims[0], *port.shape]
    return {
        "name": port.name,
        "shape": shape,
        "dims": list(port.dims),
        "dtype": "float32",
        "meaning": port.meaning,
    }


def example(models: Models, form: str, outputs: list[Port]) -> str:
    """Return five lines of code that use the model without this package."""
    signal = model_inputs(models)[0]
    return _EXAMPLES[form].format(
        rows=4,
        bins=signal.shape[0],
        marks=signal.shape[1],
        names="[" + ", ".join(f'"{port.name}"' for port in outputs) + "]",
    )


def readme(models: Models, form: str, files: dict[str, dict[str, list[Port]]]) -> str:
    """Return the page of the export in Markdown."""
    about = describe(models, files)
    whole = next(sides for file, sides in files.items() if file.startswith("model."))
    starts = about["bin_start"]
    many = f" (the mean of {about['ensemble']} members)" if about["ensemble"] > 1 else ""
    names = f"{about['encoder']} and {about['predictor']}{many}"
    lists = [
        f"- `{file}`: {_names(sides['inputs'])} → {_names(sides['outputs'])}"
        for file, sides in files.items()
    ]
    return _README.format(
        title=names,
        version=about["simplechrome"],
        format="Keras 3 models" if form == "keras" else "ONNX",
        task="It predicts the probability of high expression: above the cell type's median, unless "
        "the run's labels were made otherwise."
        if about["task"] == "classification"
        else "It predicts log2(expression + 1).",
        example=example(models, form, whole["outputs"]),
        files="\n".join(lists),
        inputs=_table(whole["inputs"]),
        marks=", ".join(about["marks"]),
        bins=len(starts),
        bin_size=about["bin_size"] or "one stretch of",
        first=starts[0],
        outputs=_table(whole["outputs"]),
        calibration=_about_calibration(models),
    )


def _about_calibration(models: Models) -> str:
    if models.predictor.task == "regression":
        return "Intervals around it are not part of the export; `simplechrome predict` writes them."
    if models.uncertainty is None:
        return "The run has no calibration: `probability` is as the predictor gives it."
    omitted = "Conformal prediction sets are not in the export."
    if _has_several_scales(models):
        return (
            "The model knows no cell types: each track is taken for one of the mean depth of those "
            "of its mark in training. Multiply tracks that are deeper or thinner (levels are in "
            f"the run's encoder/model.json), or `probability` is off. {omitted}"
        )
    return (
        "`probability` is what `simplechrome predict --no-depth-scaling` writes: tracks are taken "
        f"as they are, and not brought to the depth of training. {omitted}"
    )


def _has_several_scales(models: Models) -> bool:
    """Whether the encoder has several scales for tracks of one mark."""
    transform = models.encoder.transform_
    if not isinstance(transform, TrackTransform):
        return False
    marks = [mark for _, mark in transform.level_]
    return len(marks) > len(set(marks))


def _names(ports: list[Port]) -> str:
    return ", ".join(f"`{port.name}`" for port in ports)


def _table(ports: list[Port]) -> str:
    rows = [
        f"| `{port.name}` | ({', '.join([port.dims[0], *map(str, port.shape)])}) | "
        f"({', '.join(port.dims)}) {port.meaning} |"
        for port in ports
    ]
    return "\n".join(["| name | shape | what it is |", "|---|---|---|", *rows])

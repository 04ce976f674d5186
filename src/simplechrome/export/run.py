"""A run folder in another form: Keras files or ONNX, with a page that says how to use them."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from simplechrome.errors import ConfigError, OutputExistsError
from simplechrome.export.agreement import (
    Arrays,
    as_inputs,
    invented_windows,
    our_answers,
    require_agreement,
)
from simplechrome.export.chain import (
    Port,
    add_chain,
    add_encoder,
    add_predictor,
    chain_outputs,
    features,
    model_inputs,
    predictions,
    predictor_inputs,
)
from simplechrome.export.page import describe, readme
from simplechrome.runs.load import Models, load_run
from simplechrome.work.files import check_free, whole_folder, write_json

Format = Literal["keras", "onnx"]
_EXTRA = {"keras": ("tensorflow", "keras"), "onnx": ("onnx", "onnx", "onnxruntime")}
"""The extra that brings a format's packages, and these."""
_DESCRIPTION, _README = "export.json", "README.md"


class Exported(NamedTuple):
    """What was written.

    folder : README.md, export.json and the models
    files : the models
    difference : file → output → largest absolute difference from ours, on invented windows
    """

    folder: Path
    files: tuple[Path, ...]
    difference: dict[str, dict[str, float]]


def export_run(
    run: str | Path, folder: str | Path, form: Format = "keras", *, overwrite: bool = False
) -> Exported:
    """How can a run's models be used without this package?

    As Keras files of standard layers (the encoder, the predictor, and both one after the other),
    or as one ONNX file with any number of rows. Counts go in, the transform is part of the model.
    Before anything appears under `folder`, the written files are read back and compared with the
    run's own models on invented windows.

    Parameters
    ----------
    run
        A run folder.
    folder
        Becomes README.md, export.json and the models.
    form
        `keras` or `onnx`.
    overwrite
        Replace an export that is there.

    Raises
    ------
    ConfigError
        If the form's packages are not installed, or a model has no such form.
    MissingInputError, ModelFormatError
        If there is no such run, or it is not complete.
    OutputExistsError
        If the folder is there and `overwrite` is False, or it holds something else.
    OutputError
        If it cannot be written, or the files do not give the run's numbers.
    """
    path = Path(folder)
    _require_form(form, path)
    check_free(path, overwrite=overwrite)
    _require_export_only(path)
    _import_packages(form)
    models = load_run(run)
    if models.source is not None:
        raise ConfigError(
            "A run that was started from another cannot be exported.",
            found=f"a predictor beside that of {models.config.source}",
            expected="a run with one predictor, or an ensemble of one kind",
            remedy="export the run that it was started from",
        )
    if models.config.neighbors:
        raise ConfigError(
            "A run that looks at neighbors cannot be exported.",
            found=f"neighbors {', '.join(models.config.neighbors)}",
            expected="a run whose model sees one gene at a time",
            remedy="use the run itself, or fit one without --neighbors",
        )
    write = _write_keras if form == "keras" else _write_onnx
    with whole_folder(path, overwrite=overwrite) as temporary:
        files, difference = write(models, temporary)
        about = _about(models, form, files) | {"largest_difference": difference}
        write_json(about, temporary / _DESCRIPTION)
        (temporary / _README).write_text(readme(models, form, files), encoding="utf-8")
    return Exported(path, tuple(path / name for name in files), difference)


def _require_form(form: str, path: Path) -> None:
    if form not in get_args(Format):
        raise ConfigError(
            "There is no such format.", found=form, expected=" or ".join(get_args(Format))
        )
    if path.suffix in (".keras", ".onnx"):
        raise ConfigError(
            f"{path} would be a folder, and is called like a file.",
            found=path.name,
            expected="a folder: the models come with a page and a description",
            remedy=f"--output {path.with_suffix('')}",
        )


def _require_export_only(path: Path) -> None:
    """Is what would be replaced an export, and nothing else?"""
    if path.is_dir() and any(path.iterdir()) and not (path / _DESCRIPTION).is_file():
        raise OutputExistsError(
            f"{path} is not an export, and is not overwritten.",
            found=", ".join(sorted(each.name for each in path.iterdir())[:8]),
            expected=f"a folder with {_DESCRIPTION}, an empty folder, or none",
            remedy="choose another output path",
        )


def _import_packages(form: Format) -> list[ModuleType]:
    extra, *packages = _EXTRA[form]
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise ConfigError(
            f"The format {form} needs packages that are not installed.",
            found=str(error),
            expected=", ".join(packages),
            remedy=f"pip install 'simplechrome[{extra}]'",
        ) from error


Files = dict[str, dict[str, list[Port]]]


def _about(models: Models, form: Format, files: Files) -> dict[str, Any]:
    versions = {module.__name__: module.__version__ for module in _import_packages(form)}
    return {"format": form, "versions": versions} | describe(models, files)


def _write_keras(models: Models, folder: Path) -> tuple[Files, dict[str, dict[str, float]]]:
    import keras

    from simplechrome.export.keras_graph import KerasGraph

    parts = {
        "encoder": (add_encoder, model_inputs(models), [features(models)]),
        "predictor": (add_predictor, predictor_inputs(models), predictions(models)),
        "model": (add_chain, model_inputs(models), chain_outputs(models)),
    }
    files: Files = {}
    for name, (add, inputs, outputs) in parts.items():
        graph = KerasGraph()
        add(graph, models)
        graph.model(name).save(folder / f"{name}.keras")
        files[f"{name}.keras"] = {"inputs": inputs, "outputs": outputs}
    about = json.dumps(_about(models, "keras", files), indent=1)
    dataset = invented_windows(models.encoder)
    ours, fed = our_answers(models, dataset), as_inputs(dataset)
    difference = {}
    for file, sides in files.items():
        with zipfile.ZipFile(folder / file, "a") as archive:
            archive.writestr(_DESCRIPTION, about)
        model = keras.saving.load_model(folder / file, compile=False)
        given = {port.name: {**ours, **fed}[port.name] for port in sides["inputs"]}
        theirs = model.predict(given, batch_size=len(fed["present"]), verbose=0)
        difference[file] = require_agreement(ours, theirs, models, file)
    return files, difference


def _write_onnx(models: Models, folder: Path) -> tuple[Files, dict[str, dict[str, float]]]:
    import onnx

    from simplechrome.export.onnx_graph import ONNXGraph

    inputs, outputs = model_inputs(models), chain_outputs(models)
    files = {"model.onnx": {"inputs": inputs, "outputs": outputs}}
    graph = ONNXGraph()
    add_chain(graph, models)
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in _about(models, "onnx", files).items()
    }
    meanings = {port.name: port.meaning for port in (*inputs, *outputs)}
    path = folder / "model.onnx"
    onnx.save(graph.model("simplechrome", metadata, meanings), path)
    dataset = invented_windows(models.encoder)
    theirs = _run_onnx(path, as_inputs(dataset), [port.name for port in outputs])
    difference = require_agreement(our_answers(models, dataset), theirs, models, path.name)
    return files, {path.name: difference}


def _run_onnx(path: Path, fed: Arrays, names: list[str]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, fed), strict=True))

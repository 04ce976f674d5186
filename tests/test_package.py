"""The package's front door: quick to open, and every name on the plate is at home."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import simplechrome


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after this statement."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import simplechrome",
        "import simplechrome.cli.main",
        "import simplechrome; dir(simplechrome)",
    ],
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    heavy = {"torch", "accelerate", "xarray", "sklearn", "pandas", "scipy", "zarr", "matplotlib"}
    loaded = loaded_by(statement)
    assert "simplechrome" in loaded
    assert not heavy & loaded


def test_a_dataset_is_opened_without_torch() -> None:
    statement = "import simplechrome; simplechrome.open_dataset"
    assert not {"torch", "accelerate", "sklearn"} & loaded_by(statement)


@pytest.mark.parametrize("name", simplechrome.__all__)
def test_every_public_name_resolves(name: str) -> None:
    member = getattr(simplechrome, name)
    assert name == "__version__" or member.__name__ == name
    assert name in dir(simplechrome)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Vae'"):
        simplechrome.Vae  # noqa: B018


def test_version_is_that_of_the_installed_package() -> None:
    assert simplechrome.__version__ == version("simplechrome")

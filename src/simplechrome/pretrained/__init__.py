"""Runs that come with the package, for tracks whose cell types have no expression."""

from __future__ import annotations

from pathlib import Path

from simplechrome.errors import MissingInputError, did_you_mean

PREFIX = "pretrained:"
"""Before the name of a run that comes with the package, as in `pretrained:roadmap`."""
HOME = Path(__file__).parent


def pretrained_names() -> list[str]:
    """Return the names of the runs that come with the package."""
    return sorted(path.name for path in HOME.iterdir() if (path / "config.toml").is_file())


def locate_run(run: str | Path) -> Path:
    """Return the folder of a run, the user's or one that comes with the package.

    Raises
    ------
    MissingInputError
        If no run of that name comes with the package.
    """
    if not str(run).startswith(PREFIX):
        return Path(run)
    name, names = str(run).removeprefix(PREFIX), pretrained_names()
    if name in names:
        return HOME / name
    known = [PREFIX + each for each in names]
    raise MissingInputError(
        f"No pretrained model is called {name!r}, only {', '.join(names)}.",
        did_you_mean(str(run), known) or f"choose {' or '.join(known)}",
    )

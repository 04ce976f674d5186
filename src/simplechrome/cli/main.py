"""The command `simplechrome`: its verbs, and how their errors are shown."""

from __future__ import annotations

import importlib
import logging
import os
import sys

import click

from simplechrome.errors import SimpleChromeError
from simplechrome.version import __version__

_VERBS = (
    *("demo", "download", "build", "merge", "neighbors", "inspect"),
    *("fit", "encode", "predict", "impute", "interpret", "benchmark", "export"),
)
_OLD_NAMES = {"read": "interpret"}


class _Verbs(click.Group):
    """Verbs in the order of the work, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = _OLD_NAMES.get(cmd_name, cmd_name)
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"simplechrome.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `simplechrome demo -o runs/demo`. Each verb has its own --help with an "
    "example.",
)
@click.version_option(__version__, prog_name="simplechrome")
def cli() -> None:
    """Predict gene expression from histone-mark signal.

    Build a dataset from the signal around each gene's TSS, learn a small latent representation of
    it without labels, and predict expression from that.
    """


def main() -> None:
    """Run the command line; known errors become one message and exit code 1."""
    # Threads that wait for work by spinning take the cores from other processes, and from each
    # other: on a shared machine training was two to three times slower. Set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SimpleChromeError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        if logging.getLogger("simplechrome").isEnabledFor(logging.DEBUG):
            raise
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)

"""Messages and documentation name only options, files, commands and Python names that exist."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from page_examples import PROJECT

from simplechrome.cli.main import cli

SOURCE = PROJECT / "src" / "simplechrome"
PAGES = [
    PROJECT / "README.md",
    SOURCE / "pretrained" / "roadmap" / "README.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])")
ENDINGS = "md|parquet|json|csv|tsv|toml|html|svg|safetensors|txt|tex|keras|onnx"
FILE = re.compile(rf"(?<![\w./*:-])[\w./-]*\w\.(?:{ENDINGS})(?:\.gz)?(?!\.?\w)")
COMMAND = re.compile(r"(?<!from )(?<!import )\bsimplechrome ([a-z]+)((?: (?:[^`\n\\]|\\\n)*)?)")
SCRIPT = re.compile(r"python\s+(benchmarks/\w+\.py)")
COMMON = {"--help", "--version", "--upgrade"}  # the last one is of pip
OTHER_FILES = {
    *("train.csv", "valid.csv", "test.csv", "requirements.txt", "chromAlias.txt"),  # of others
    *("model.keras", "encoder.keras", "predictor.keras"),  # names put together by the export
}


@cache
def options(hidden: bool) -> dict[str, set[str]]:
    """Return verb -> its options, those of the layouts of `build` and `neighbors` included."""
    found: dict[str, set[str]] = {}
    for verb in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        found[verb] = COMMON.union(
            *(
                (*parameter.opts, *parameter.secondary_opts)
                for one in (command, *inner)
                for parameter in one.get_params(click.Context(one))
                if hidden or not getattr(parameter, "hidden", False)
            )
        )
    return found


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of the string literals of a source file; `{}` for inserted values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings and path.parent.name != "cli":  # of the CLI they are its help
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@cache
def source_strings() -> list[tuple[str, str]]:
    """Return place and text of all string literals of the package."""
    return [
        (f"{path.relative_to(PROJECT)}:{line}", text)
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in strings(path)
    ]


@cache
def known_files() -> set[str]:
    """Return names of files in the repository, and of those that the package writes."""
    folders = ("docs", "src", "tests", "benchmarks")
    present = {path.name for name in folders for path in (PROJECT / name).rglob("*.*")}
    present |= {path.name for path in PROJECT.glob("*.*")}
    written = {Path(text).name for _, text in source_strings() if FILE.fullmatch(text)}
    return present | written | OTHER_FILES


def unknown_files(text: str, known: set[str]) -> set[str]:
    """Return names of files in prose that are neither known nor ask for a value (`{}`)."""
    return {name for name in FILE.findall(text) if Path(name).name not in known}


def test_messages_name_only_options_that_exist() -> None:
    visible = set().union(*options(hidden=False).values())
    unknown = [
        (place, option)
        for place, text in source_strings()
        if not OPTION.fullmatch(text)  # definitions, of hidden options too
        for option in OPTION.findall(text)
        if option not in visible
    ]
    assert not unknown


def test_messages_name_only_files_that_exist() -> None:
    unknown = []
    for place, text in source_strings():
        prose = COMMAND.sub("", text)  # examples of commands have names of their own
        unknown += [(place, name) for name in unknown_files(prose, known_files())]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_page_names_only_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    visible = options(hidden=False)
    for verb, rest in COMMAND.findall(text):
        assert verb in visible, verb
        assert set(OPTION.findall(rest)) <= visible[verb], (verb, rest)
    allowed = set().union(*visible.values())
    for script in SCRIPT.findall(text):
        allowed |= set(OPTION.findall((PROJECT / script).read_text(encoding="utf-8")))
    assert set(OPTION.findall(text)) <= allowed
    for name in set(re.findall(r"`[^`\n]*?\b(simplechrome(?:\.[A-Za-z_]\w*)+)", text)):
        pkgutil.resolve_name(name)
    # Files of examples: those that commands and code of any page name.
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    examples = "\n".join(
        [*("".join(found) for found in COMMAND.findall(pages)), *re.findall(r"```\w+ \S+", pages)]
    )
    known = known_files() | {Path(name).name for name in FILE.findall(examples)}
    assert not unknown_files(text, known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, link


def test_changelog_names_old_options_only_in_the_table_of_renamed_ones() -> None:
    lines = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    for hidden in (True, False):
        text = "\n".join(line for line in lines if line.startswith("|") is hidden)
        assert set(OPTION.findall(text)) <= set().union(*options(hidden).values())

"""One look for all figures and the page: colors with a light and a dark shade, and SVG for a page.

A figure is drawn in the light shades. `inline_svg` then turns each of them into a reference to
a variable of the page's style sheet, so that the same drawing is right on a light and on a dark
page. Series, mark and class hues were chosen with a simulation of red-green blindness
(Machado et al., IEEE TVCG 2009): any two of one group differ by 18 or more in CIELAB.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from simplechrome.errors import InputFormatError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS

PIXELS_PER_INCH = 100
"""How large an inch of a figure is on the page: 9 points of text come out as 12.5 pixels."""
FULL_WIDTH, HALF_WIDTH = 7.6, 3.7  # inches: the page's column, and two figures side by side


class Hue(NamedTuple):
    """A color on a light and on a dark page."""

    light: str
    dark: str


PALETTE: dict[str, Hue] = {
    "ink": Hue("#1c2530", "#e3e8ee"),
    "muted": Hue("#586472", "#9daab8"),
    "faint": Hue("#d5dae0", "#39424d"),
    "surface": Hue("#fdfdfc", "#14181d"),
    "accent": Hue("#1d6a86", "#6cbcd8"),
    "low": Hue("#2a6fbb", "#6fb0f2"),
    "high": Hue("#c9511c", "#f58d5a"),
    "h3k4me3": Hue("#a01f2b", "#f4736a"),
    "h3k4me1": Hue("#c8911a", "#ebb02a"),
    "h3k36me3": Hue("#1f8f6a", "#6fe8b8"),
    "h3k27me3": Hue("#5b2a82", "#a088ea"),
    "h3k9me3": Hue("#2b95d8", "#9fd4f5"),
}
INK, MUTED, FAINT, SURFACE, ACCENT, LOW, HIGH = (
    PALETTE[name].light for name in ("ink", "muted", "faint", "surface", "accent", "low", "high")
)
CLASS_COLORS = {"high": HIGH, "low": LOW}

# From the hue of low to that of high, growing lighter but never so dark or so light that a
# point would sink into either page: the raster of a scatter has the same colors on both.
EXPRESSION_COLORS = LinearSegmentedColormap.from_list(
    "expression", ["#3a6bbf", "#757bb4", "#b5708a", "#dd7b4a", "#f2a73b"]
)

_WINDOW = ("raw", "window", "none")  # names of the window itself

_DASHES: list[Any] = ["-", (0, (5, 1.6)), (0, (2, 1.2)), (0, (6, 1.5, 1, 1.5))]
_CONTROLS = ("permuted", "shuffled", "control", "chance", "random")

STYLE: dict[str, Any] = {
    # Names come from users: a dollar sign in one must not start a formula.
    "text.parse_math": False,
    "text.color": INK,
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.6,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.major.width": 0.6,
    "hatch.linewidth": 0.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "simplechrome",
}

styled = matplotlib.style.context(["default", STYLE])
"""Decorates a function that draws, so that neither a user's settings leak in nor ours out."""


def series_hues() -> dict[str, Hue]:
    """Return the color of the window and of each registered encoder and predictor that has one."""
    classes = [kinds.get(name) for kinds in (ENCODERS, PREDICTORS) for name in kinds.names()]
    own = {each.name.replace("_", "-"): Hue(*each.color) for each in classes if each.color}
    return {"raw": own.pop("none"), **own}


def palette() -> dict[str, Hue]:
    """Return all colors of figures and pages by name."""
    return PALETTE | series_hues()


def series_lines(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the line (color and dashes) of each representation or model.

    A name that begins with that of an encoder or predictor with a color of its own has that color
    in every figure, controls are gray, and others take the colors that are left, in order. Names
    that share a color, as VAE 10 and VAE 20, differ in dashes.
    """
    series = series_hues()
    prefixes = {**{name: name for name in series}, **dict.fromkeys(_WINDOW, "raw")}
    hues: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[\s_]+", "-", name.strip().lower())
        known = (hue for prefix, hue in prefixes.items() if plain.startswith(prefix))
        hue = "muted" if plain.startswith(_CONTROLS) else next(known, None)
        if hue is not None:
            hues[name] = hue
    spare = [hue for hue in series if hue not in hues.values()] or list(series)
    others = [name for name in names if name not in hues]
    hues |= {name: spare[i % len(spare)] for i, name in enumerate(others)}
    colors, lines = palette(), dict[str, dict[str, Any]]()
    for i, name in enumerate(names):
        n_before = sum(hues[other] == hues[name] for other in names[:i])
        lines[name] = {
            "color": colors[hues[name]].light,
            "linestyle": _DASHES[n_before % len(_DASHES)],
        }
    return lines


def mark_colors(marks: Sequence[str]) -> list[str]:
    """Return the color of each mark.

    The five core marks have their own in every figure; others take the series' colors, in
    order.
    """
    series = list(series_hues().values())
    others = [mark for mark in marks if mark.lower() not in PALETTE]
    extra = {mark: series[i % len(series)] for i, mark in enumerate(others)}
    return [(extra.get(mark) or PALETTE[mark.lower()]).light for mark in marks]


def check_shapes(sizes: Mapping[str, int], **arrays: np.ndarray) -> None:
    """Raise `InputFormatError` unless every array has these sizes, by dimension, and none is 0."""
    expected = tuple(sizes.values())
    for name, array in arrays.items():
        if array.shape != expected or 0 in expected:
            dims = ", ".join(sizes)
            raise InputFormatError(
                f"`{name}` has shape {array.shape}; expected ({dims}) = {expected}, none of them 0."
            )


def short_name(name: object, length: int = 24) -> str:
    """Return a user's name on one line, cut with an ellipsis."""
    text = " ".join(str(name).split())
    text = "".join(letter for letter in text if letter.isprintable())  # others break an SVG
    return text if len(text) <= length else text[: length - 1] + "…"


@styled
def message_figure(message: str, width: float = HALF_WIDTH) -> Figure:
    """Return a figure with the reason why another cannot be drawn."""
    figure = new_figure(width, 1.6)
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FAINT, linestyle=(0, (4, 3)))
    axes.text(
        0.5,
        0.5,
        message,
        color=MUTED,
        ha="center",
        va="center",
        wrap=True,
        transform=axes.transAxes,
    )
    return figure


@styled
def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure with room for its labels; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.05, h_pad=0.05, hspace=0.06)  # type: ignore[call-arg]
    return figure


def counted(n: int, noun: str) -> str:
    """Return a number of things as text: `1 gene`, `2,742 genes`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def write_svg(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as SVG that looks the same everywhere, for slides and papers.

    Letters become outlines, since a slide's reader may lack the font. Without a date, and with
    identifiers that do not come from chance, the same figure gives the same bytes.
    """
    with matplotlib.style.context(["default", {**STYLE, "svg.fonttype": "path"}]):
        figure.savefig(path, format="svg", metadata={"Date": None}, dpi=200, facecolor="white")


_NAMESPACES = re.compile(r"^\{[^}]*\}")
_LONG_NUMBER = re.compile(r"\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w-]+)")
_FONT_FAMILY = re.compile(r"font-family: [^;]*;? ?")


@styled
def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an element of an HTML page.

    Text stays text (in the page's font) and the palette's colors follow the page's. The same
    figure gives the same bytes.

    Parameters
    ----------
    figure
        From one of the functions of this package.
    name
        Begins all identifiers, which must be unique within a page.
    description
        What a reader hears who cannot see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        # Letters that the layout's font lacks are drawn by the reader's browser, from its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", dpi=2 * PIXELS_PER_INCH, metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    elements = list(root.iter())
    variables = {hue.light: f"var(--{color},{hue.light})" for color, hue in palette().items()}
    referred = {
        match
        for element in elements
        for match in _REFERENCE.findall(" ".join(element.attrib.values()))
    }
    for element in elements:
        element.tag = _NAMESPACES.sub("", element.tag)
        element.attrib = {
            _NAMESPACES.sub("", key): _page_attribute(
                _NAMESPACES.sub("", key), value, name, variables
            )
            for key, value in element.attrib.items()
            if not (key == "id" and value not in referred)
        }
        if element.text and not element.text.strip():
            element.text = None
        element.tail = None
    for definitions in root.findall("defs"):  # its style would hold for the whole page
        for style in definitions.findall("style"):
            definitions.remove(style)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    width = round(figure.get_size_inches()[0] * PIXELS_PER_INCH)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": description,
        # A wide figure keeps its text legible on a phone, where the reader scrolls sideways.
        "style": f"width:{width}px;min-width:{min(round(0.72 * width), 540)}px",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _page_attribute(key: str, value: str, name: str, variables: Mapping[str, str]) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = _FONT_FAMILY.sub("", value).replace("url(#", f"url(#{name}-")
        return re.sub("|".join(variables), lambda match: variables[match[0]], value)
    if key in ("d", "x", "y"):
        return _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.2f}", value).replace("\n", "")
    return value

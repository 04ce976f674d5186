"""A report is one valid, self-contained HTML file, whatever names and numbers it holds."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from simplechrome.errors import InputFormatError, OutputError
from simplechrome.report.figures.signal import quality_figure
from simplechrome.report.markdown import render_markdown
from simplechrome.report.page import (
    Figure,
    HeadlineNumber,
    Items,
    Note,
    Page,
    Provenance,
    Row,
    Section,
    Table,
    Text,
    render_page,
    write_page,
)

HOSTILE = '<b onmouseover="x">E012</b> & {{ 7 * 7 }} <script src="https://example.org/x.js">'
Attributes = list[tuple[str, str | None]]
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Parsed(HTMLParser):
    """Reads a page and fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str | None] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] or "" for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def figure(name: str = "E012") -> matplotlib.figure.Figure:
    return quality_figure([[1.0]], [[False]], [name], ["H3K4me3"])


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def content(**changes: Any) -> Page:
    arguments: dict[str, Any] = {
        "title": "Expression of E012",
        "subtitle": "From five marks",
        "headline": [HeadlineNumber("Test AUROC", 0.94871, (0.94, 0.9561), "of 2,742 genes")],
        "sections": [
            Section(
                "Data",
                [
                    Text("One.\n\nTwo, `code`."),
                    Note("A remark"),
                ],
            ),
            Section("Scores", [Table(table(name=["raw"], auroc=[0.953]), "All", "caption")]),
        ],
        "footer": Provenance("0.1.0", "simplechrome fit", "seed = 0\n", [("a.zarr", "6 MB")]),
    }
    return Page(**(arguments | changes))


def one_block(block: Table) -> str:
    return render_page(content(sections=[Section("Only", [block])]))


def cells(html: str) -> list[list[str]]:
    """The table's rows as they are set, `<b>` included."""
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]


def test_page_is_valid_and_self_contained() -> None:
    picture = Section("Pictures", [Figure(figure(), "Seen", "How to read")])
    html = render_page(content(sections=[*content().sections, picture]))
    page = Parsed(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("script") == []
    assert page.all("link") == []
    assert page.all("img") == []
    assert "http" not in html
    assert "@import" not in html
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert [len(page.all(tag)) for tag in ("h1", "h2", "figure", "table")] == [1, 3, 1, 2]


def test_identifiers_are_unique_and_every_link_has_its_goal() -> None:
    pictures = [Figure(figure(), "a"), Figure(figure(), "b")]
    sections = [Section("a", pictures), *(Section("b", []) for _ in range(4))]
    page = Parsed(render_page(content(sections=sections)))
    assert len(page.ids) == len(set(page.ids))
    goals = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert goals
    assert goals <= set(page.ids)


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    hostile = Page(
        HOSTILE,
        HOSTILE,
        [HeadlineNumber(HOSTILE, HOSTILE, None, HOSTILE)],
        [
            Section(
                HOSTILE,
                [
                    Text(HOSTILE + " `" + HOSTILE + "`"),
                    Items([HOSTILE]),
                    Note(HOSTILE),
                    Figure(figure(HOSTILE), HOSTILE, HOSTILE, HOSTILE),
                    Table(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE, HOSTILE),
                ],
            )
        ],
        Provenance(HOSTILE, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE)]),
        notes=[Note(HOSTILE, "warning")],
        date=HOSTILE,
    )
    page = Parsed(render_page(hostile))
    assert page.all("script") == []
    assert not any("onmouseover" in attributes for _, attributes in page.tags)
    assert "{{ 7 * 7 }}" in page.text
    assert page.text.count("example.org") >= 20


def test_the_same_input_gives_the_same_bytes() -> None:
    pages = [
        render_page(content(sections=[Section("a", [Figure(figure(), "b")])])) for _ in range(2)
    ]
    assert pages[0] == pages[1]
    assert "2025-01-31" in render_page(content(date="2025-01-31"))


def test_contents_are_listed_from_five_sections_on() -> None:
    sections = [Section(f"Part {i}", []) for i in range(5)]
    assert Parsed(render_page(content(sections=sections[:4]))).all("nav") == []
    page = Parsed(render_page(content(sections=sections)))
    assert page.links == [f"#section-{i}" for i in range(1, 6)]
    assert page.text.count("Part 3") == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.94871, "0.949"),
        (2742, "2,742"),
        (np.int64(18421), "18,421"),
        (-0.01234, "−0.012"),
        ("12 of 56", "12 of 56"),
        (None, "undefined"),
        (float("nan"), "undefined"),
    ],
)
def test_headline_numbers_are_formatted(value: float | str | None, shown: str) -> None:
    html = render_page(content(headline=[HeadlineNumber("label", value)]))
    assert f">{shown}</dd>" in html


def test_headline_shows_interval_and_note() -> None:
    page = Parsed(render_page(content()))
    assert "95\N{NO-BREAK SPACE}%: 0.940–0.956" in page.text
    assert "of 2,742 genes" in page.text
    assert Parsed(render_page(content(headline=[]))).all("dl") == []


def test_text_has_paragraphs_and_code() -> None:
    html = render_page(content())
    assert "<p>One.</p><p>Two, <code>code</code>.</p>" in html


def test_notes_stand_on_top_and_warnings_say_so() -> None:
    html = render_page(content(notes=[Note("These data are simulated.", "warning")]))
    assert html.index("These data are simulated.") < html.index("Test AUROC")
    assert "<strong>Warning</strong><p>These data are simulated.</p>" in html


def test_figures_are_numbered_through_and_have_a_text_for_those_who_cannot_see() -> None:
    row = Row((Figure(figure(), "First", "", "A picture of E012"), Figure(figure(), "Second")))
    page = Parsed(render_page(content(sections=[Section("a", [row, Figure(figure(), "Third")])])))
    assert [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"] == [
        "A picture of E012",
        "Second",
        "Third",
    ]
    assert all(f"Figure {i}." in page.text for i in (1, 2, 3))


def test_a_title_ends_before_its_caption_begins() -> None:
    html = one_block(Table(table(a=[1]), "Title", "Caption"))
    assert "<b>Title.</b> Caption" in html
    assert "<b>Why?</b> Caption" in one_block(Table(table(a=[1]), "Why?", "Caption"))
    assert "<b>Title</b>" in one_block(Table(table(a=[1]), "Title"))


def test_table_columns_share_a_format_and_numbers_stand_right() -> None:
    frame = table(
        name=["raw", "VAE 10"],
        auroc=[0.95, 0.9],
        genes=[2742, 10],
        rpkm=[12345.6, 0.2],
        mixed=[0.5, None],
        interval=["0.950 (0.94–0.96)", None],
        penalty=[1e-5, 1e-4],
    )
    html = one_block(Table(frame, "All"))
    assert cells(html) == [
        ["raw", "0.950", "2,742", "12,346", "0.500", "0.950 (0.94–0.96)", "1.0e−05"],
        ["VAE 10", "0.900", "10", "0", "–", "–", "1.0e−04"],
    ]
    assert html.count('<th scope="col" class="right">') == 6  # all but the name


def test_table_sets_in_bold_the_best_and_what_lies_within_its_margin() -> None:
    frame = table(
        name=["a", "b", "c", "d"],
        auroc=[0.9501, 0.9504, 0.948, 0.91],
        error=[np.nan, 0.2, 0.1, 0.15],
    )
    frame.index = [0, 0, 0, 0]  # an index that is not unique does not matter
    html = one_block(
        Table(
            frame,
            "All",
            formats={"error": ".0%"},
            best={"auroc": "highest", "error": "lowest"},
            margins={"auroc": [0, 0, 0.003, 0.003], "error": [0.04] * 4},
        )
    )
    assert cells(html) == [
        ["a", "<b>0.950</b>", "–"],  # looks as good as the best: bold too
        ["b", "<b>0.950</b>", "20%"],
        ["c", "0.948 †", "<b>10%</b>"],  # .0024 below the best
        ["d", "0.910", "15%"],
    ]


@pytest.mark.parametrize("margins", [{}, {"auroc": [0.01, np.nan]}])
def test_table_sets_nothing_in_bold_where_the_margins_are_not_known(margins: Any) -> None:
    frame = table(name=["a", "b"], auroc=[0.9, 0.5])
    html = one_block(Table(frame, "All", best={"auroc": "highest"}, margins=margins))
    assert "<b>0.9" not in html


def test_table_with_ids_repeated_names_or_no_rows() -> None:
    frame = pd.DataFrame([["000003", 1]], columns=["gene", "gene"])
    assert cells(one_block(Table(frame, "All"))) == [["000003", "1"]]
    assert cells(one_block(Table(frame[:0], "All"))) == []
    assert cells(
        one_block(
            Table(table(a=[np.nan, np.nan]), "All", best={"a": "highest"}, margins={"a": [0, 0]})
        )
    ) == [
        ["–"],
        ["–"],
    ]


def test_table_refuses_formats_and_best_for_what_is_not_there() -> None:
    with pytest.raises(InputFormatError, match="no column auprc"):
        one_block(Table(table(auroc=[0.9]), "All", best={"auprc": "highest"}))
    with pytest.raises(InputFormatError, match="no column auprc"):
        one_block(Table(table(auroc=[0.9]), "All", margins={"auprc": [0.1]}))
    with pytest.raises(InputFormatError, match=r"column auroc has .* margins for 1 rows"):
        one_block(
            Table(table(auroc=[0.9]), "All", best={"auroc": "highest"}, margins={"auroc": [0, 0]})
        )
    with pytest.raises(InputFormatError, match="no best in its column name"):
        one_block(Table(table(name=["raw"]), "All", best={"name": "highest"}))


def test_the_same_blocks_as_markdown() -> None:
    scores = Table(
        table(model=["raw", "p|ca", "vae"], auroc=[0.95, 0.949, None]),
        "Scores",
        "Caption",
        formats={"auroc": ".3f"},
        best={"auroc": "highest"},
        margins={"auroc": [0, 0.002, 0]},
        details={"auroc": ["(0.94–0.96)", "(0.93–0.95)", ""]},
    )
    picture = Figure(figure(), "Seen", name="a/b")
    blocks = [Text("One.\n\nTwo, `code`."), Items(["x", "y"]), Row((picture,)), scores]
    text = render_markdown(
        content(sections=[Section("Part", blocks)], notes=[Note("simulated.", "warning")])
    )
    assert text == (
        "# Expression of E012\n\nFrom five marks.\n\n> **Warning.** simulated.\n\n"
        "- Test AUROC: 0.9487 (0.9400–0.9561); of 2,742 genes\n\n"
        "## Part\n\nOne.\n\nTwo, `code`.\n\n- x\n- y\n\n"
        "![Seen](figures/a_b.svg)\n\n*Seen.*\n\n"
        "**Scores**\n\n| model | auroc |\n|---|---|\n"
        "| raw | **0.950** (0.94–0.96) |\n| p\\|ca | 0.949 † (0.93–0.95) |\n| vae | – |\n\n"
        "Caption\n\n## To repeat it\n\n```\nsimplechrome fit\n```\n"
    )


def test_footer_says_how_to_make_the_report_again() -> None:
    page = Parsed(render_page(content()))
    for part in ("SimpleChrome 0.1.0", "simplechrome fit", "seed = 0", "a.zarr", "6 MB"):
        assert part in page.text
    assert len(page.all("details")) == 2  # configuration and files, but no environment
    bare = Parsed(render_page(content(footer=Provenance("0.1.0", "fit"))))
    assert bare.all("details") == []


def test_both_color_schemes_define_every_color() -> None:
    html = render_page(content())
    light, dark = html.split("prefers-color-scheme: dark")[:2]
    for name in ("ink", "surface", "high", "h3k4me3", "vae"):
        assert f"--{name}: #" in light
        assert f"--{name}: #" in dark


def test_write_page_replaces_the_old_report_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_page(path, content()) == path
    assert path.read_text(encoding="utf-8") == render_page(content())
    assert list(tmp_path.iterdir()) == [path]


def test_write_page_takes_names_that_are_no_text(tmp_path: Path) -> None:
    footer = Provenance("0.1.0", "simplechrome fit caf\udce9.zarr")  # a Latin-1 file name
    write_page(tmp_path / "report.html", content(footer=footer))


def test_a_failed_write_leaves_the_old_report_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_page(path, content())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_page_that_cannot_be_made_writes_nothing(tmp_path: Path) -> None:
    broken = [Section("a", [Table(table(a=[1]), "t", best={"b": "highest"})])]
    with pytest.raises(InputFormatError):
        write_page(tmp_path / "report.html", content(sections=broken))
    assert list(tmp_path.iterdir()) == []


def test_write_page_names_the_path_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in ("file/report.html", "folder"):
        with pytest.raises(OutputError, match=path):
            write_page(tmp_path / path, content())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]

"""Reports: pure figure functions, and the page that holds them as one HTML file."""

from simplechrome.report.figures.latents import latent_map_figure, loss_figure
from simplechrome.report.figures.scores import (
    calibration_figure,
    precision_recall_figure,
    residual_figure,
    roc_figure,
    scatter_expression_figure,
)
from simplechrome.report.figures.signal import (
    difference_figure,
    mean_profile_figure,
    quality_figure,
)
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

__all__ = [
    "Figure",
    "HeadlineNumber",
    "Items",
    "Note",
    "Page",
    "Provenance",
    "Row",
    "Section",
    "Table",
    "Text",
    "calibration_figure",
    "difference_figure",
    "latent_map_figure",
    "loss_figure",
    "mean_profile_figure",
    "precision_recall_figure",
    "quality_figure",
    "render_page",
    "residual_figure",
    "roc_figure",
    "scatter_expression_figure",
    "write_page",
]

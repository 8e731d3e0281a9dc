"""A report as a PDF to hand to a board: A4, tagged, PDF/A-2a and PDF/UA-1, the same bytes wherever it is made.

Rules:
1. typst lays out; names and reasons reach it as JSON data, never as markup, and it reads no file but its template
   and this package's fonts.
2. The drawings are charts.py's, in print.css's colours.
3. Pages do not grow with rounds: curves, the newest entries and sums stand for them, and the page says that the
   CSV and the JSON hold every entry. With many participants the tables go on; charts are of those who spent most.
Setting a report takes tens of milliseconds of a core; who serves requests bounds how many are made at once.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import typst

from privacy.errors import ConfigurationError
from privacy.report import pdf_data
from privacy.report.budget_report import BudgetReport
from privacy.report.catalogue import DEFAULT_LANGUAGE
from privacy.report.fonts import FOLDER, drawable, fonts
from privacy.report.pdf_figures import Chart

STANDARDS: Final[list[Any]] = ["a-2a", "ua-1"]
_NAMESPACE: Final = 'xmlns="http://www.w3.org/2000/svg"'
_TEMPLATES: Final = Path(str(files("privacy.report"))) / "templates"


def render_pdf(report: BudgetReport, language: str = DEFAULT_LANGUAGE) -> bytes:
    """Raises ConfigurationError for a language it has no words in, or where typst or its font is not whole."""
    made = list(time.gmtime(report.as_of)[:6])
    data = _prepared({**pdf_data.printed(report, language), "made": made})
    try:
        compiled = typst.compile(
            str(_TEMPLATES / "report.typ"),
            root=str(_TEMPLATES),
            font_paths=fonts(),
            ignore_system_fonts=True,
            sys_inputs={"report": json.dumps(data, ensure_ascii=False)},
            pdf_standards=STANDARDS,
            timestamp=report.as_of,
        )
    except typst.TypstError as error:
        raise ConfigurationError(
            f"a typst that sets this report with the fonts in {FOLDER}",
            str(error.message),
            "install the versions that constraints.txt pins",
        ) from error
    if not isinstance(compiled, bytes):
        raise ConfigurationError("one PDF from typst", type(compiled).__name__, "install the pinned version")
    return compiled


def _prepared(value: Any) -> Any:
    """Charts for print, and texts that the font can draw."""
    if isinstance(value, Chart):
        return {"svg": _print_svg(value), "label": drawable(value.label)}
    if isinstance(value, dict):
        return {key: _prepared(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_prepared(item) for item in value]
    return drawable(value)


def _print_svg(chart: Chart) -> str:
    """The page's drawing as a file of its own: with its name space and its colours."""
    # Its label may hold what XML cannot: the same rule as for what is printed.
    opening, body = str(drawable(str(chart.svg))).split(">", 1)
    if chart.small:
        opening = opening.replace('class="', 'class="small ', 1)
    return f"{opening.replace('<svg', f'<svg {_NAMESPACE}', 1)}><style>{_colours()}</style>{body}"


@lru_cache(maxsize=1)
def _colours() -> str:
    return (_TEMPLATES / "print.css").read_text("utf-8")

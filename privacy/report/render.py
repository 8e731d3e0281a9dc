"""A report as bytes to keep or hand on: PDF, CSV, canonical JSON, or one HTML file that needs nothing else.

The HTML holds its styles and charts itself, asks for no other file, runs no script, and prints on A4.
`environment` and `stylesheet` are shared with the console, so that both show a figure in the same way.
"""

from __future__ import annotations

from importlib.resources import files

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from privacy.protocol.canonical import canonical
from privacy.report import charts, sentences, shown, written
from privacy.report.budget_report import BudgetReport
from privacy.report.catalogue import DEFAULT_LANGUAGE, catalogue
from privacy.report.pdf import render_pdf
from privacy.report.signature import Format
from privacy.report.table import render_csv


def render_json(report: BudgetReport) -> bytes:
    """The report in canonical JSON (RFC 8785)."""
    return canonical(report.model_dump(mode="json"))


def rendered(report: BudgetReport, form: Format, language: str = DEFAULT_LANGUAGE) -> bytes:
    """The report in one of FORMATS. Raises ConfigurationError for a language it has no words in."""
    if form == "pdf":
        return render_pdf(report, language)
    if form == "html":
        return render_html(report, language).encode("utf-8")
    return render_csv(report) if form == "csv" else render_json(report)


def render_html(report: BudgetReport, language: str = DEFAULT_LANGUAGE) -> str:
    """The report as one self-contained HTML page. Raises ConfigurationError for a language it has no words in."""
    page = environment().get_template("report/report.html")
    # Our own style sheets, not input: escaping would break their selectors.
    styles = Markup(stylesheet("base.css") + stylesheet("report.css"))  # noqa: S704
    return page.render(report=report, t=catalogue(language), styles=styles, say=sentences)


def stylesheet(name: str) -> str:
    """A style sheet of this package: base.css is the console's too."""
    return files("privacy.report").joinpath("templates", name).read_text("utf-8")


def environment(more: BaseLoader | None = None) -> Environment:
    """Jinja2 with this package's templates under `report/`, its filters, escaping on, undefined names an error."""
    own = PrefixLoader({"report": PackageLoader("privacy.report", "templates")})
    made = Environment(
        loader=ChoiceLoader([own, more]) if more else own,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "epsilon": charts.number,
        "plain": shown.plain,
        "delta": shown.delta,
        "percent": shown.percent,
        "utc": shown.utc,
        "gauge": charts.gauge,
        "curve": charts.curve,
        "told": sentences.entry,
        "alarm": sentences.alarm_text,
        "said": written.said,
    }
    return made

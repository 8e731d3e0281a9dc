"""A report as bytes to keep or hand on: canonical JSON, or one HTML file that needs nothing else.

The HTML holds its styles and charts itself, asks for no other file, runs no script, and prints on A4.
`environment` and `stylesheet` are shared with the console, so that both show a figure in the same way.
"""

from __future__ import annotations

import math
import time
from importlib.resources import files

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from privacy.protocol.canonical import canonical
from privacy.report import charts
from privacy.report.budget_report import BudgetReport, Epsilon
from privacy.report.catalogue import DEFAULT_LANGUAGE, catalogue

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_json(report: BudgetReport) -> bytes:
    """The report in canonical JSON (RFC 8785)."""
    return canonical(report.model_dump(mode="json"))


def render_html(report: BudgetReport, language: str = DEFAULT_LANGUAGE) -> str:
    """The report as one self-contained HTML page. Raises ConfigurationError for a language it has no words in."""
    page = environment().get_template("report/report.html")
    # Our own style sheets, not input: escaping would break their selectors.
    styles = Markup(stylesheet("base.css") + stylesheet("report.css"))  # noqa: S704
    return page.render(report=report, t=catalogue(language), styles=styles)


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
        "plain": _plain,
        "delta": _delta,
        "percent": _percent,
        "utc": _utc,
        "gauge": charts.gauge,
        "curve": charts.curve,
    }
    return made


def _plain(value: Epsilon) -> str:
    """A number as it was written: caps, noise multipliers, rates."""
    return "∞" if isinstance(value, str) else f"{value:.6g}"


def _delta(value: float) -> str:
    """1e-05 as 1 × 10⁻⁵."""
    mantissa, exponent = f"{value:.2e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPTS)
    return f"{float(mantissa):g} × 10{power}"


def _percent(chance: float) -> str:
    """Rounded up: a bound that is rounded down would promise too much."""
    return str(min(100, math.ceil(chance * 100 - 1e-9)))


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))

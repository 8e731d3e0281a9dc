"""Charts as SVG text: a gauge of spent against cap, and epsilon over charged attempts.

Rules:
1. Shape carries the meaning, colour only repeats it: spent is solid, spent without a result hatched, reserved
   outlined by dashes, planned a dashed line, infinity a full bar of crosses.
2. Classes and presentation attributes alone, no style attribute: a strict Content-Security-Policy shows them.
   base.css has the classes.
3. Each chart says in `aria-label` what it shows; what is drawn is also written beside it by the page.
Numbers only go into the drawing after they were formatted here; the label is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from privacy.report.budget_report import INFINITE, CurvePoint, Epsilon, GuaranteeBudget

_Across = Callable[[int], float]
_Up = Callable[[Epsilon], float]

_GAUGE_WIDTH, _GAUGE_HEIGHT, _BAR_TOP, _BAR_HEIGHT = 360.0, 20.0, 4.0, 12.0
_CURVE_WIDTH, _CURVE_HEIGHT = 400.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 10.0, 16.0, 24.0


def number(value: Epsilon) -> str:
    """An epsilon as people read it: two digits after the point, more before a small one vanishes."""
    if value == INFINITE:
        return "∞"
    value = float(value)
    if 0 < value < 0.005:
        return "< 0.01"
    return f"{value:.2f}"


def gauge(budget: GuaranteeBudget, label: str, key: str) -> Markup:
    """A bar of spent over cap. key: makes the patterns' ids unique in the document."""
    body = _infinite_bar(key) if budget.epsilon == INFINITE else _bar(budget, key)
    return Markup(  # noqa: S704 - numbers were formatted here, the label is escaped
        f'<svg class="gauge" viewBox="0 0 {_GAUGE_WIDTH:.0f} {_GAUGE_HEIGHT:.0f}" role="img"'
        f' aria-label="{escape(label)}">{gauge_pattern(key)}{body}</svg>'
    )


def _bar(budget: GuaranteeBudget, key: str) -> str:
    spent = float(budget.epsilon)
    fruitless = 0.0 if budget.without_result == INFINITE else float(budget.without_result)
    held = spent if budget.with_reserved == INFINITE else float(budget.with_reserved)
    over = max(spent, held) > budget.cap
    full = max(budget.cap, spent * 1.04, held * 1.04)
    at = [_GAUGE_WIDTH * value / full for value in (max(0.0, spent - fruitless), spent, held, budget.cap)]
    parts = [_rect("track", 0, _GAUGE_WIDTH), _rect("spent over" if over else "spent", 0, at[0])]
    if at[1] - at[0] > 0.2:
        parts.append(_rect("fruitless", at[0], at[1] - at[0], f'fill="url(#hatch-{key})"'))
    if budget.with_reserved == INFINITE:
        parts.append(_rect("held", at[1], _GAUGE_WIDTH - at[1]))
    elif at[2] - at[1] > 0.2:
        parts.append(_rect("held", at[1], at[2] - at[1]))
    cap = min(at[3], _GAUGE_WIDTH - 1)
    parts.append(f'<line class="cap" x1="{cap:.1f}" x2="{cap:.1f}" y1="0" y2="{_GAUGE_HEIGHT:.0f}"/>')
    return "".join(parts)


def _infinite_bar(key: str) -> str:
    return _rect("track", 0, _GAUGE_WIDTH) + _rect("infinite", 0, _GAUGE_WIDTH, f'fill="url(#cross-{key})"')


def _rect(name: str, left: float, width: float, extra: str = "") -> str:
    return (
        f'<rect class="{name}" x="{left:.1f}" y="{_BAR_TOP:.0f}" width="{max(0.0, width):.1f}"'
        f' height="{_BAR_HEIGHT:.0f}" {extra}/>'
    )


def gauge_pattern(key: str) -> str:
    """The definitions that a gauge of this key draws with."""
    return (
        f'<defs><pattern id="hatch-{key}" class="hatch" width="5" height="5" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect class="ground" width="5" height="5"/>'
        '<line x1="1" y1="0" x2="1" y2="5"/></pattern>'
        f'<pattern id="cross-{key}" class="cross" width="7" height="7" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><path d="M3.5 0V7M0 3.5H7"/></pattern></defs>'
    )


def curve(
    budget: GuaranteeBudget,
    label: str,
    cap_label: str,
    mark: CurvePoint | None = None,
    mark_label: str = "",
) -> Markup:
    """Epsilon over charged attempts, what happened as a line, what is planned dashed.

    mark: a point to show on it, that need not lie on it, with lines to both axes: else the last that happened is.
    Empty without points, and once epsilon is infinite: a line that stops before that would belittle it.
    """
    finite = [point for point in budget.curve if point.epsilon != INFINITE]
    if len(finite) < 2 or budget.epsilon == INFINITE:
        return Markup("")
    drawn = finite if mark is None else [*finite, mark]
    steps = max(point.charges for point in drawn)
    top = _nice_above(max(budget.cap, *(float(point.epsilon) for point in drawn)))

    def x(charges: int) -> float:
        return _LEFT + (_CURVE_WIDTH - _LEFT - _RIGHT) * charges / max(1, steps)

    def y(epsilon: Epsilon) -> float:
        return _TOP + (_CURVE_HEIGHT - _TOP - _BOTTOM) * (1 - float(epsilon) / top)

    happened = [point for point in finite if not point.planned]
    planned = [*happened[-1:], *(point for point in finite if point.planned)]
    parts = [_grid(top, y), _cap_line(y(budget.cap), cap_label), _line("past", happened, x, y)]
    if len(planned) > 1:
        parts += [_line("planned", planned, x, y), _dot("open", planned[-1], x, y)]
    now = happened[-1:] if mark is None else [mark]
    if mark is not None:
        parts.append(_mark(mark, mark_label, x, y))
    parts += [_dot("now", point, x, y) for point in now]
    marks = {0, steps} | {point.charges for point in now}
    parts += [_x_mark(x(mark), mark, x(steps)) for mark in _apart(sorted(marks), x)]
    return Markup(  # noqa: S704 - numbers were formatted here, the label is escaped
        f'<svg class="curve" viewBox="0 0 {_CURVE_WIDTH:.0f} {_CURVE_HEIGHT:.0f}" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _grid(top: float, y: _Up) -> str:
    lines = []
    for step in range(5):
        value = top * step / 4
        lines.append(
            f'<line class="{"axis" if step == 0 else "grid"}" x1="{_LEFT:.0f}" x2="{_CURVE_WIDTH - _RIGHT:.0f}"'
            f' y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text x="{_LEFT - 6:.0f}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:g}</text>'
        )
    return "".join(lines)


def _cap_line(height: float, label: str) -> str:
    right = _CURVE_WIDTH - _RIGHT
    return (
        f'<line class="cap" x1="{_LEFT:.0f}" x2="{right:.0f}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text class="cap-label" x="{_LEFT + 4:.0f}" y="{height - 5:.1f}">{escape(label)}</text>'
    )


def _line(name: str, points: Sequence[CurvePoint], x: _Across, y: _Up) -> str:
    path = " ".join(f"{x(point.charges):.1f},{y(point.epsilon):.1f}" for point in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _dot(name: str, point: CurvePoint, x: _Across, y: _Up) -> str:
    return f'<circle class="{name}" cx="{x(point.charges):.1f}" cy="{y(point.epsilon):.1f}" r="3.5"/>'


def _mark(point: CurvePoint, label: str, x: _Across, y: _Up) -> str:
    """Lines from a point to its axes, and its label on the side that has room."""
    across, up = x(point.charges), y(point.epsilon)
    left = across < _CURVE_WIDTH / 2
    place, anchor = (across + 7, "start") if left else (across - 7, "end")
    down = up + 14 if up + 20 < _CURVE_HEIGHT - _BOTTOM else up - 7
    return (
        f'<path class="mark" d="M{_LEFT:.0f} {up:.1f}H{across:.1f}V{_CURVE_HEIGHT - _BOTTOM:.0f}"/>'
        f'<text class="cap-label" x="{place:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(label)}</text>'
    )


def _x_mark(place: float, value: int, last: float) -> str:
    anchor = "end" if place == last else "start" if value == 0 else "middle"
    return f'<text x="{place:.1f}" y="{_CURVE_HEIGHT - 7:.0f}" text-anchor="{anchor}">{value}</text>'


def _apart(marks: list[int], x: _Across) -> list[int]:
    """Marks whose labels do not touch, in print's larger type too: the ends, and what is 48 units from both."""
    ends = {marks[0], marks[-1]}
    return [m for m in marks if m in ends or all(abs(x(m) - x(end)) > 48 for end in ends)]


def _nice_above(value: float) -> float:
    """The least 1, 2, 4, 6 or 8 times a power of ten (all split in four well) with room above `value`."""
    wanted = value * 1.12
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(m * power for m in (1, 2, 4, 6, 8, 10) if m * power >= wanted)

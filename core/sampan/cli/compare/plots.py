"""Plots as inline SVG: for each combination a bar to the median, and a mark for each round.

They are stretched to the width that they get, so they hold no text and nothing round; words and figures stand beside
them in a table, which is also what a screen reader reads.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

_WIDTH, _HEIGHT = 1000, 24
_BAR, _MARK = 12, 18


def bar(values: Sequence[float], most: float, color: int) -> str:
    """``most`` is the value at the right end. ``color`` is the number of the series: the page's ``--series-N``."""
    if not values or most <= 0:
        return ""

    def x(value: float) -> float:
        return round(min(1.0, max(0.0, value / most)) * _WIDTH, 1)

    top, mark = (_HEIGHT - _BAR) / 2, (_HEIGHT - _MARK) / 2
    marks = "".join(f"<path d='M{x(value)} {mark:g}v{_MARK}'/>" for value in values) if len(values) > 1 else ""
    return (
        f"<svg class='bar s{color}' viewBox='0 0 {_WIDTH} {_HEIGHT}' preserveAspectRatio='none' aria-hidden='true'>"
        f"<path class='base' d='M0 0v{_HEIGHT}'/>"
        f"<rect y='{top:g}' width='{x(statistics.median(values))}' height='{_BAR}'/>{marks}</svg>"
    )

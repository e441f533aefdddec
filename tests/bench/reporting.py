"""Tables of medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Times = list[float]
OURS = "sampan"


@dataclass
class Goal:
    """What the ratio of two subjects ought to be: ``text`` such as ``≥ 6``."""

    rival: str
    text: str
    reached: Callable[[float], bool]
    ours_first: bool = False
    """The ratio is ours divided by theirs, not theirs divided by ours."""
    paired: bool = False
    """It is the median of the rounds' ratios, not the ratio of the medians: what falls on a whole round falls out."""
    sign = "/"

    def of(self, ours: Times, theirs: Times) -> float:
        if self.paired and len(ours) == len(theirs):
            return statistics.median(map(self.ratio, ours, theirs))
        return self.ratio(statistics.median(ours), statistics.median(theirs))

    def ratio(self, ours: float, theirs: float) -> float:
        return ours / theirs if self.ours_first else theirs / ours


class Added(Goal):
    """What ours may take in addition to theirs, in milliseconds."""

    sign = " − "

    def ratio(self, ours: float, theirs: float) -> float:
        return (ours - theirs) * 1000


class Within(Goal):
    """What ours may take at most, in milliseconds, whatever the others take."""

    def ratio(self, ours: float, theirs: float) -> float:
        return ours * 1000


class More(Goal):
    """Where more is better: ours divided by theirs."""

    def ratio(self, ours: float, theirs: float) -> float:
        return ours / theirs


def at_least(rival: str, factor: float) -> Goal:
    return Goal(rival, f"≥ {factor:g}", lambda ratio: ratio >= factor)


def more(rival: str, factor: float) -> Goal:
    """Of a throughput."""
    return More(rival, f"≥ {factor:g}", lambda ratio: ratio >= factor, ours_first=True, paired=True)


def within(milliseconds: float) -> Goal:
    return Within(OURS, f"≤ {milliseconds:g} ms", lambda taken: taken <= milliseconds)


def at_most(rival: str, share: float) -> Goal:
    return Goal(rival, f"≤ {share:g}", lambda ratio: ratio <= share, ours_first=True, paired=True)


def at_most_more(rival: str, milliseconds: float) -> Goal:
    return Added(rival, f"≤ {milliseconds:g} ms", lambda added: added <= milliseconds, ours_first=True, paired=True)


@dataclass
class Row:
    name: str
    figures: dict[str, Times]
    goal: Goal | None = None


@dataclass
class Part:
    """One table. ``unit`` is ``ms`` (figures in seconds), ``kB`` or ``Gbit/s``; ``notes`` stand below it."""

    title: str
    unit: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def show(letter: str, part: Part) -> str:
    subjects = list(dict.fromkeys(name for row in part.rows for name in row.figures))
    head = ["", *subjects, "ratio", "goal"]
    body = [_cells(row, subjects, part.unit) for row in part.rows]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [f"({letter}) {part.title} [{part.unit}, median]"]
    lines += ["  " + _line(cells, widths) for cells in [head, *body]]
    return "\n".join(lines + [f"  · {note}" for note in part.notes])


def _cells(row: Row, subjects: Iterable[str], unit: str) -> list[str]:
    middle = {name: statistics.median(figures) for name, figures in row.figures.items()}
    cells = [row.name, *(_figure(middle.get(name), unit) for name in subjects)]
    if row.goal is None or row.goal.rival not in middle or OURS not in middle:
        return [*cells, "", ""]
    ratio = row.goal.of(row.figures[OURS], row.figures[row.goal.rival])
    pair = (OURS, row.goal.rival) if row.goal.ours_first else (row.goal.rival, OURS)
    name = OURS if row.goal.rival == OURS else row.goal.sign.join(pair)
    mark = "reached" if row.goal.reached(ratio) else "NOT reached"
    return [*cells, f"{name} {ratio:.2f}", f"{row.goal.text} {mark}" if row.goal.text else ""]


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "ms":
        return f"{value * 1000:.2f}" if value < 0.001 else f"{value * 1000:.1f}"
    return f"{value:.1f}" if unit == "Gbit/s" else f"{value:.0f}"


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "   ".join([first.strip().ljust(widths[0]), *rest]).rstrip()


def ratio_to(rival: str) -> Goal:
    """A ratio without a goal."""
    return Goal(rival, "", lambda _: True)


def as_json(parts: dict[str, Part]) -> dict[str, Any]:
    return {
        letter: {
            "title": part.title,
            "unit": "s" if part.unit == "ms" else part.unit,
            "rows": {row.name: row.figures for row in part.rows},
            "notes": part.notes,
        }
        for letter, part in parts.items()
    }

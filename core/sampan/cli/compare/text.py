"""A comparison as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from sampan.cli.compare.result import Result

_WIDTH = 100
_TITLES = {
    "run": "command",
    "memory": "memory",
    "overhead": "watcher",
    "disk": "disk",
    "write": "write",
    "receive": "receive",
}
_LONGEST = 400  # characters of a value; the JSON has all of it


def text(found: Result) -> str:
    parts = [_about(found["about"]), _table(found), _notes(found["rows"]), _facts(found)]
    return "\n\n".join(part for part in parts if part)


def _about(about: Result) -> str:
    turns = f"{about['rounds']} rounds, taking turns" if about["rounds"] > 1 else "one round"
    before, after = about["load"]
    same = f" · {', '.join(about['same'])}" if about["same"] else ""
    drivers = ", ".join(f"{name} ({package})" for name, package in about["drivers"].items())
    return "\n".join(
        (
            f"{about['image']} · {' '.join(about['command'])} · {turns}{same} · {about['at']}",
            f"sampan {about['engine']}, API {about['api']}; Linux {about['kernel']} {about['architecture']}, "
            f"cgroups v{about['cgroups']}, {about['cpus']} CPUs, load {before} before and {after} after",
            textwrap.fill(drivers, _WIDTH),
        )
    ).rstrip()


def _table(found: Result) -> str:
    """A table for the times and one for the rest: medians, and from the least to the most below them."""
    groups = list(dict.fromkeys(metric["group"] == "Time" for metric in found["metrics"]))
    tables = ([metric for metric in found["metrics"] if (metric["group"] == "Time") is times] for times in groups)
    return "\n\n".join(_measured(found, metrics) for metrics in tables)


def _measured(found: Result, metrics: Sequence[Result]) -> str:
    rows = [row for row in found["rows"] if row["samples"]]
    lines: list[list[str]] = [
        ["", *(str(_TITLES.get(metric["key"], metric["title"])) for metric in metrics)],
        ["", *(metric["unit"] for metric in metrics)],
    ]
    for row in rows:
        lines.append([row["name"], *(figure(row["median"].get(metric["key"])) for metric in metrics)])
        if found["about"]["rounds"] > 1:
            lines.append(["  from least to most", *(span(row["samples"].get(metric["key"])) for metric in metrics)])
    return _columns(lines)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def figure(value: float | None) -> str:
    """Three digits that count; nothing is a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def span(values: Sequence[float] | None) -> str:
    least, most = (figure(min(values)), figure(max(values))) if values else ("", "")
    return f"{least}–{most}" if least != most else ""


def _notes(rows: Sequence[Result]) -> str:
    lines = [f"{row['name']} failed: {row['error']}" for row in rows if row["error"]]
    lines += [f"{row['name']}: {note}" for row in rows for note in row["notes"]]
    return "\n".join(lines)


def _facts(found: Result) -> str:
    good = [row["name"] for row in found["rows"] if not row["error"]]
    if not good:
        return ""
    lines = []
    if len(good) > 1:
        differences: list[dict[str, Any]] = found["differences"]
        lines.append("What differs in behaviour and in what the process has:" if differences else "Nothing differs.")
        for each in differences:
            lines += _wrapped(each["fact"], 2)
            for value, names in each["values"]:
                lines += _wrapped(f"{shortened(value)}  ← {', '.join(names)}")
    lines.append("Alike in all:" if len(good) > 1 else "What the process has:")
    for value, names in _by_value(found["alike"]):
        lines += _wrapped(f"{names}: {shortened(value)}", 2)
    return "\n".join(lines)


def _by_value(same: dict[str, str]) -> list[tuple[str, str]]:
    """The sets of capabilities are mostly one and the same."""
    found: dict[tuple[str, str], list[str]] = {}
    for fact, value in same.items():
        if _worth_a_line(fact):
            noun, _, kind = fact.partition(", ")
            found.setdefault((noun, value) if noun == "capabilities" else (fact, ""), [value]).append(kind)
    return [(values[0], f"{key[0]}, {' '.join(values[1:])}" if key[1] else key[0]) for key, values in found.items()]


def _worth_a_line(fact: str) -> bool:
    """Each mount, group and limit that all have is in the JSON and on the page."""
    return not fact.startswith(("mount, ", "cgroup, ", "limit, "))


def shortened(value: str) -> str:
    plain = " ⏎ ".join(value.splitlines()) or "nothing"
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def _wrapped(line: str, indent: int = 4) -> list[str]:
    first, rest = " " * indent, " " * (indent + 2)
    return textwrap.wrap(line, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)

"""A comparison as one page of HTML that needs nothing else, no network and no scripts; light or dark, wide or narrow.

Everything that comes from outside, and that is nearly everything, is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from sampan.cli.compare.plots import bar
from sampan.cli.compare.result import Result
from sampan.cli.compare.style import STYLE
from sampan.cli.compare.text import figure, shortened, span

_COLORS = 6


def page(found: Result) -> str:
    about = found["about"]
    title = f"{about['image']}: {len(found['rows'])} combinations compared"
    good = [row for row in found["rows"] if not row["error"]]
    parts = [
        _head(about, title),
        _failures(found["rows"]),
        _plots(found),
        _differences(found["differences"], found["rows"]) if len(good) > 1 else "",
        _alike(found["alike"], several=len(good) > 1),
        _against(about),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<meta name='color-scheme' content='light dark'><title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(about: Result, title: str) -> str:
    turns = f"{about['rounds']} rounds, taking turns" if about["rounds"] > 1 else "one round"
    same = f"; in all, {escape(', '.join(about['same']))}" if about["same"] else ""
    return (
        f"<header><h1>{escape(title)}</h1>"
        f"<p>The command is <code>{escape(' '.join(about['command']))}</code>; {turns}{same}. "
        "Bars end at the median, and each thin mark is one round.</p></header>"
    )


def _failures(rows: Sequence[Result]) -> str:
    items = [f"<li><b>{escape(row['name'])}</b> failed: {escape(row['error'])}</li>" for row in rows if row["error"]]
    items += [f"<li><b>{escape(row['name'])}</b>: {escape(note)}</li>" for row in rows for note in row["notes"]]
    return f"<section class='notes'><h2>Not measured</h2><ul>{''.join(items)}</ul></section>" if items else ""


def _plots(found: Result) -> str:
    groups: dict[str, list[Result]] = {}
    for metric in found["metrics"]:
        groups.setdefault(metric["group"], []).append(metric)
    rows = [row for row in found["rows"] if row["samples"]]
    colors = _colors(rows)
    return "".join(
        f"<section><h2>{escape(group)}</h2><div class='grid'>"
        f"{''.join(_plot(metric, rows, colors) for metric in metrics)}</div></section>"
        for group, metrics in groups.items()
    )


def _colors(rows: Sequence[Result]) -> dict[str, int]:
    """One colour for each runtime, or for each of what else there are several of; by a row's name."""
    for key in ("runtime", "storage", "network"):
        names = list(dict.fromkeys(row[key] for row in rows))
        if len(names) > 1:
            break
    found = {name: at % _COLORS for at, name in enumerate(names)}
    return found | {row["name"]: found[row[key]] for row in rows}


def _plot(metric: Result, rows: Sequence[Result], colors: dict[str, int]) -> str:
    key = metric["key"]
    most = max((value for row in rows for value in row["samples"].get(key, ())), default=0.0)
    lines = "".join(_line(row, key, most, colors[row["name"]]) for row in rows)
    better = "more is better" if metric["more"] else "less is better"
    return (
        f"<table class='plot'><caption>{escape(metric['title'])} "
        f"<span>{escape(metric['unit'])}, {better}</span></caption>"
        "<thead class='unseen'><tr><th scope='col'>combination</th><th scope='col'>plot</th><th scope='col'>median</th>"
        f"<th scope='col'>least to most</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _line(row: Result, key: str, most: float, color: int) -> str:
    values = row["samples"].get(key, [])
    return (
        f"<tr><th scope='row'>{escape(row['name'])}</th><td class='wide'>{bar(values, most, color)}</td>"
        f"<td class='number'>{figure(row['median'].get(key))}</td><td class='range'>{span(values)}</td></tr>"
    )


def _differences(differences: Sequence[dict[str, Any]], rows: Sequence[Result]) -> str:
    if not differences:
        return (
            "<section><h2>What differs</h2><p>Nothing: their processes have the same, and did the same.</p></section>"
        )
    colors = _colors(rows)
    items = "".join(
        f"<div class='fact'><h3>{escape(each['fact'])}</h3>{_values(each['values'], colors)}</div>"
        for each in differences
    )
    return f"<section><h2>What differs</h2><p>{_SOURCE}</p><div class='facts'>{items}</div></section>"


_SOURCE = "Read from <code>/proc</code> of each container’s first process while it ran; and what the command did."


def _values(values: Sequence[Any], colors: dict[str, int]) -> str:
    def chip(name: str) -> str:
        return f"chip s{colors[name]}" if name in colors else "chip plainly"

    def chips(names: Sequence[str]) -> str:
        return "".join(f"<span class='{chip(name)}'>{escape(name)}</span>" for name in names)

    return "".join(
        f"<div class='value'><code>{escape(shortened(value))}</code><p>{chips(names)}</p></div>"
        for value, names in values
    )


def _alike(same: dict[str, str], *, several: bool) -> str:
    title = "Alike in all" if several else "What the process has"
    lines = "".join(
        f"<tr><th scope='row'>{escape(fact)}</th><td><code>{escape(shortened(value))}</code></td></tr>"
        for fact, value in same.items()
    )
    return (
        f"<section><details><summary><h2>{title}</h2></summary>"
        f"<div class='scroll'><table class='plain'>{lines}</table></div></details></section>"
        if lines
        else ""
    )


def _against(about: Result) -> str:
    before, after = about["load"]
    facts = {
        "when": about["at"],
        "engine": f"sampan {about['engine']}, API {about['api']}; client {about['client']}",
        "machine": f"{about['system']}, Linux {about['kernel']} {about['architecture']}, {about['cpus']} CPUs, "
        f"{about['memory'] / (1 << 30):.1f} GiB, cgroups v{about['cgroups']}",
        "load": f"{before} before, {after} after (of a minute)",
        "drivers": "; ".join(f"{name} of {package}" for name, package in about["drivers"].items()),
        "stays": f"{' '.join(about['keep'])}; in it: {' '.join(about['exec'])}",
        "throughput": f"{about['bytes'] / (1 << 20):g} MiB each way" if about["bytes"] else "left out",
    }
    lines = "".join(f"<tr><th scope='row'>{name}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f"<footer><h2>Measured against</h2><div class='scroll'><table class='plain'>{lines}</table></div></footer>"

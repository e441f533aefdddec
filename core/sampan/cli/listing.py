"""Lists: a table, ids only, JSON lines, or the user's own template, from the same rows."""

from __future__ import annotations

from sampan.cli.output import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]


def show(
    rows: Sequence[Row], columns: Mapping[str, str], form: str, *, headers: Mapping[str, str] | None = None
) -> None:
    """Prints ``rows``. ``columns`` are field → header of the default table, ``headers`` those of all other fields;
    ``form`` is ``--format``: empty, ``table``, ``json``, a template, or ``table`` and a template."""
    if form in ("", "table"):
        print(table([list(columns.values()), *([str(row[field]) for field in columns] for row in rows)]))
    elif form == "json":
        _json_lines(rows)
    else:
        _templated(rows, form, {**(headers or {}), **columns})


def _json_lines(rows: Sequence[Row]) -> None:
    import json

    for row in rows:
        fields = {key: value for key, value in sorted(row.items()) if not callable(value)}
        print(json.dumps(fields, separators=(",", ":"), ensure_ascii=False))


def _templated(rows: Sequence[Row], form: str, headers: Mapping[str, str]) -> None:
    from sampan.cli.template import Template

    form = form.replace("\\t", "\t").replace("\\n", "\n")
    tabular = form.startswith("table ")
    template = Template(form.removeprefix("table ").lstrip() if tabular else form)
    plain = [dict(row) for row in rows]
    if not tabular:
        for row in plain:
            print(template.execute(row))
        return
    top = {**{key: key.upper() for row in plain[:1] for key in row}, **headers}
    named: dict[str, Any] = {**top, "Label": lambda key: str(key).rpartition(".")[2]}
    lines = [template.execute(row).split("\t") for row in (named, *plain)]
    width = max(map(len, lines))
    print(table([line + [""] * (width - len(line)) for line in lines]))


def filters(pairs: Sequence[str]) -> dict[str, dict[str, bool]] | None:
    """``--filter`` words as the API wants them. Raises Usage."""
    from sampan.cli.failures import Usage

    found: dict[str, dict[str, bool]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Usage(f"invalid filter '{pair}': write name=value", code=1)
        found.setdefault(key.strip().lower(), {})[value.strip()] = True
    return found or None

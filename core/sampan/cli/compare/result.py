"""Everything that a comparison found, as plain data: what ``--format json`` prints, and what text and page show."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from sampan import __version__
from sampan.cli.client import Client
from sampan.cli.compare.facts import alike, differences
from sampan.cli.compare.plan import FAMILIES, Plan, labels
from sampan.cli.compare.rounds import METRICS, Row

Result = dict[str, Any]


def about(client: Client, plan: Plan) -> Result:
    """What it runs against. Taken before the rounds; :func:`result` adds what is known after them."""
    version, info = client.get("/version"), client.get("/info")
    named = {family: dict.fromkeys(each[at] for each in plan.combinations) for at, family in enumerate(FAMILIES)}
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "image": plan.image,
        "command": plan.command,
        "keep": plan.keep,
        "exec": plan.probe,
        "rounds": plan.rounds,
        "bytes": plan.size,
        "client": __version__,
        "engine": version.get("Version", ""),
        "api": version.get("ApiVersion", ""),
        "kernel": info.get("KernelVersion", ""),
        "system": info.get("OperatingSystem", ""),
        "architecture": info.get("Architecture", ""),
        "cpus": info.get("NCPU", 0),
        "memory": info.get("MemTotal", 0),
        "cgroups": info.get("CgroupVersion", ""),
        "load": [_load()],
        "same": [f"{family} {next(iter(names))}" for family, names in named.items() if len(names) == 1],
        "drivers": {
            f"{driver['family']} {driver['name']}": _of(driver)
            for driver in client.get("/sampan/drivers")
            if driver["name"] in named.get(driver["family"], ())
        },
    }


def _of(driver: Result) -> str:
    """What the driver is of, and what it drives."""
    drives = (driver.get("features") or {}).get("drives") or ""
    return f"{driver['package']} {driver['version']}" + (f", which drives {drives}" if drives else "")


def _load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def result(against: Result, rows: Sequence[Row]) -> Result:
    names = labels([row.combination for row in rows])
    good = {row.combination: row.facts for row in rows if not row.error}
    return {
        "about": {**against, "load": [*against["load"], _load()]},
        "metrics": [metric._asdict() for metric in METRICS if any(metric.key in row.samples for row in rows)],
        "rows": [_row(row, names[row.combination]) for row in rows],
        "differences": [each._asdict() for each in differences(good)],
        "alike": alike(good),
    }


def _row(row: Row, name: str) -> Result:
    return {
        "name": name,
        **row.combination._asdict(),
        "error": row.error,
        "notes": row.notes,
        "samples": {key: [round(value, 3) for value in values] for key, values in row.samples.items()},
        "median": {key: round(statistics.median(values), 3) for key, values in row.samples.items()},
        "facts": row.facts,
    }

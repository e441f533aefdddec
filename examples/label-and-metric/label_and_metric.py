"""Hooks for sampan: a label on every container, and counters of what happens for Prometheus (see README.md)."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.drivers import hookimpl

LABEL = "org.example.host"
FILE = Path(os.environ.get("LABEL_AND_METRIC_FILE", "/run/sampan-metrics.prom"))

_counters: Counter[tuple[str, str]] = Counter()
_lock = threading.Lock()  # each watching hook is called in a thread of its own


@hookimpl
def container_creating(labels: dict[str, str]) -> None:
    labels.setdefault(LABEL, os.uname().nodename)


@hookimpl
def container_starting(container: Mapping[str, Any], spec: dict[str, Any]) -> None:
    spec.setdefault("annotations", {})[LABEL] = container["labels"].get(LABEL, "")


@hookimpl
def container_event(event: Mapping[str, Any]) -> None:
    _count(event)


@hookimpl
def image_event(event: Mapping[str, Any]) -> None:
    _count(event)


@hookimpl
def network_event(event: Mapping[str, Any]) -> None:
    _count(event)


def _count(event: Mapping[str, Any]) -> None:
    """An action may go on after a colon (``exec_create: ls``): that would be a new counter for each command."""
    with _lock:
        _counters[event["Type"], event["Action"].partition(":")[0]] += 1
        lines = [
            "# HELP sampan_events_total What happened since the daemon was started.",
            "# TYPE sampan_events_total counter",
            *(
                f'sampan_events_total{{type="{noun}",action="{action}"}} {count}'
                for (noun, action), count in sorted(_counters.items())
            ),
        ]
        fresh = FILE.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(FILE)  # a reader sees the old file or the new one

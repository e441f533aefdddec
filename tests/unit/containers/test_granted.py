"""Limits that this machine does not let the engine give."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from sampan.containers.requests import config, granted


def warned(monkeypatch: pytest.MonkeyPatch, may: bool, **host: Any) -> list[str]:
    monkeypatch.setattr(granted, "_may", lambda: may)
    monkeypatch.setattr(granted, "_own_score", lambda: 0)
    monkeypatch.setattr(resource, "getrlimit", lambda number: (1024, -1 if number == granted.LOCKS else 4096))
    return config.read({"Image": "x", "Cmd": ["true"], "HostConfig": host}).warnings


def ulimit(name: str, soft: int, hard: int) -> dict[str, Any]:
    return {"Name": name, "Soft": soft, "Hard": hard}


def test_what_is_not_granted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [ulimit("nofile", 1024, 5000), ulimit("core", -1, -1), ulimit("nproc", 7, 4096), ulimit("locks", 1, -1)]
    told = warned(monkeypatch, False, OomScoreAdj=-5, Ulimits=limits)
    assert [text.partition(": ")[2] for text in told] == [
        "ulimit nofile is at most 4096 instead of 5000.",
        "ulimit core is at most 4096 instead of -1.",
        "the oom score adj is 0 instead of -5.",
    ]


def test_what_is_granted_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warned(monkeypatch, True, OomScoreAdj=-5, Ulimits=[ulimit("nofile", 1, 1 << 40)]) == []
    assert warned(monkeypatch, False, OomScoreAdj=5, Ulimits=[ulimit("nofile", 1, 2)]) == []

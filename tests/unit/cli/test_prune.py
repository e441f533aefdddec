"""``image prune`` and ``system prune``, and the flags of health checks and restart policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from unit.cli.fake_daemon import Daemon, Result

Sampan = Callable[..., Result]


def asked_filters(daemon: Daemon, what: str) -> Any:
    [request] = daemon.asked(what)
    return json.loads(request.query["filters"][0]) if "filters" in request.query else None


@pytest.fixture
def full(daemon: Daemon) -> Daemon:
    daemon.on("POST /containers/prune", {"ContainersDeleted": ["c" * 64], "SpaceReclaimed": 2_000_000})
    daemon.on("POST /networks/prune", {"NetworksDeleted": ["back"]})
    daemon.on("POST /volumes/prune", {"VolumesDeleted": ["v" * 64], "SpaceReclaimed": 97_152})
    gone = [{"Untagged": "shell:1"}, {"Deleted": "sha256:1"}]
    daemon.on("POST /images/prune", {"ImagesDeleted": gone, "SpaceReclaimed": 0})
    return daemon


def test_system_prune_tells_what_went(full: Daemon, sampan: Sampan) -> None:
    done = sampan("system", "prune", "-f", "--volumes", "--filter", "label=x")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"Deleted Containers:\n{'c' * 64}\n\nDeleted Networks:\nback\n\nDeleted Volumes:\n{'v' * 64}\n\n"
        "Deleted Images:\nuntagged: shell:1\ndeleted: sha256:1\n\nTotal reclaimed space: 2.097MB\n"
    )
    assert asked_filters(full, "POST /containers/prune") == {"label": {"x": True}}
    assert asked_filters(full, "POST /images/prune") == {"label": {"x": True}, "dangling": {"true": True}}


def test_without_volumes_none_are_touched(full: Daemon, sampan: Sampan) -> None:
    sampan("system", "prune", "-af")
    assert not full.asked("POST /volumes/prune")
    assert asked_filters(full, "POST /images/prune") == {"dangling": {"false": True}}


def test_image_prune(full: Daemon, sampan: Sampan) -> None:
    done = sampan("image", "prune", "-f")
    assert done.out == "Deleted Images:\nuntagged: shell:1\ndeleted: sha256:1\n\nTotal reclaimed space: 0B\n"
    assert [request.path for request in full.requests] == ["/images/prune"]


@pytest.mark.parametrize("words", [["system", "prune"], ["image", "prune"]])
def test_nothing_goes_unasked(full: Daemon, sampan: Sampan, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "n")
    done = sampan(*words)
    assert done.code == 1
    assert done.out.startswith("WARNING! This removes")
    assert not full.requests


def test_until_and_volumes_do_not_go_together(full: Daemon, sampan: Sampan) -> None:
    done = sampan("system", "prune", "-f", "--volumes", "--filter", "until=1h")
    assert (done.code, full.requests) == (1, [])
    assert 'the "until" filter is not supported with "--volumes"' in done.err


def test_health_flags_are_the_request(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("POST /containers/create", {"Id": "c" * 64, "Warnings": []})
    times = ["--health-interval", "5s", "--health-timeout", "200ms", "--health-start-period", "1m"]
    more = ["--health-start-interval", "1s", "--health-retries", "4", "--restart-unhealthy"]
    assert sampan("create", "--health-cmd", "look", *times, *more, "shell").code == 0
    body = daemon.requests[0].json
    assert body["Healthcheck"] == {
        "Test": ["CMD-SHELL", "look"],
        "Interval": 5_000_000_000,
        "Timeout": 200_000_000,
        "StartPeriod": 60_000_000_000,
        "StartInterval": 1_000_000_000,
        "Retries": 4,
    }
    assert body["Labels"] == {"sampan.restart-unhealthy": "true"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--health-start-interval=-1s"], "--health-start-interval cannot be negative"),
        (["--health-retries=-1"], "--health-retries cannot be negative"),
        (["--restart", ":3"], "invalid restart policy format: no policy provided before colon"),
        (["--restart", "on-failure:1.5"], "maximum retry count must be an integer"),
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(
    daemon: Daemon, sampan: Sampan, flags: list[str], sentence: str
) -> None:
    done = sampan("run", *flags, "shell")
    assert (done.code, daemon.requests) == (125, [])
    assert sentence in done.err

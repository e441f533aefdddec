"""Health checks of real containers: from the command line and from the image, across daemons, and what follows."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]
OFTEN = ["--health-interval", "100ms", "--health-timeout", "5s", "--health-retries", "2"]
IS_WELL = ["--health-cmd", "echo looking; test -e /tmp/well"]
FOREVER = ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"]


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    return dict(engine.api("GET", f"/containers/{name}/json")[1])


def health(engine: Engine, name: str) -> dict[str, Any]:
    return dict(inspected(engine, name)["State"]["Health"])


def becomes(engine: Engine, name: str, status: str) -> None:
    engine.wait_until(lambda: health(engine, name)["Status"] == status, f"{name} is {status}")


@pytest.fixture
def checked(engine: Engine, cli: Cli, shell: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a container that is well when ``/tmp/well`` exists."""
    name = f"checked-{request.node.callspec.id}"
    cli("run", "-d", "--name", name, *OFTEN, *IS_WELL, shell, *FOREVER).ok()
    yield name
    engine.docker("rm", "-f", name)


def test_it_is_checked_and_shown_everywhere(engine: Engine, cli: Cli, checked: str) -> None:
    assert "(health: starting)" in cli("ps").out or health(engine, checked)["Status"] == "unhealthy"
    becomes(engine, checked, "unhealthy")
    assert cli("ps", "--filter", "health=unhealthy", "--format", "{{.Names}}").out == checked
    assert "(unhealthy)" in cli("ps").out
    cli("exec", checked, "touch", "/tmp/well").ok()
    becomes(engine, checked, "healthy")
    assert "(healthy)" in cli("ps", "--filter", "health=healthy").out
    engine.wait_until(lambda: len(health(engine, checked)["Log"]) == 5, "five results are kept")
    told = health(engine, checked)
    assert told["FailingStreak"] == 0
    assert {result["Output"] for result in told["Log"]} == {"looking\n"}
    assert all(result["Start"] < result["End"] for result in told["Log"])
    actions = [event["Action"] for event in engine.events(f"container={checked}")]
    assert [each for each in actions if each.startswith("health")] == [
        "health_status: unhealthy",
        "health_status: healthy",
    ]
    assert "exec_create: /bin/sh -c echo looking; test -e /tmp/well" in actions
    cli("stop", "-t", "5", checked).ok()
    assert "healthy" not in cli("ps", "-a", "--filter", f"name={checked}").out


def test_a_paused_container_is_not_checked(engine: Engine, cli: Cli, checked: str) -> None:
    becomes(engine, checked, "unhealthy")
    cli("pause", checked).ok()
    before = health(engine, checked)
    time.sleep(0.4)
    assert health(engine, checked) == before
    cli("unpause", checked).ok()
    engine.wait_until(lambda: health(engine, checked)["Log"] != before["Log"], "it is checked again")


def test_a_check_that_hangs_is_killed_with_what_it_started(engine: Engine, cli: Cli, shell: str) -> None:
    hanging = ["--health-cmd", "echo before; sleep 77; true", "--health-interval", "50ms", "--health-retries", "1"]
    cli("run", "-d", "--name", "hangs", *hanging, "--health-timeout", "1s", shell, *FOREVER).ok()
    becomes(engine, "hangs", "unhealthy")
    result = health(engine, "hangs")["Log"][0]
    assert (result["ExitCode"], result["Output"]) == (-1, "Health check exceeded timeout (1s): before\n")
    sleeping = cli("top", "hangs", "-eo", "pid,args").out.count("sleep 77")
    assert sleeping <= 2  # a shell and its child, of the one under way now
    cli("rm", "-f", "hangs").ok()


def test_restarted_when_unhealthy(engine: Engine, shell: str) -> None:
    failing = ["--health-cmd", "echo no answer; false", *OFTEN]
    engine.sampan("run", "-d", "--name", "again", "--restart-unhealthy", *failing, shell, *FOREVER).ok()
    label = ["-l", "sampan.restart-unhealthy=true"]
    engine.docker("run", "-d", "--name", "labelled", *label, *failing, shell, *FOREVER).ok()
    for name in ("again", "labelled"):
        engine.wait_until(lambda name=name: inspected(engine, name)["RestartCount"] >= 2, f"{name} is restarted")
        cause = engine.sampan("inspect", "-f", "{{.State.Cause}}", name).out
        assert cause == "health: 2 health checks failed in a row: no answer"
        assert engine.sampan("ps", "--filter", f"name={name}", "--format", "{{.Cause}}").out == cause
        engine.docker("stop", name).ok()
        count = inspected(engine, name)["RestartCount"]
        time.sleep(0.3)
        assert (inspected(engine, name)["State"]["Status"], inspected(engine, name)["RestartCount"]) == (
            "exited",
            count,
        )
        engine.docker("rm", name).ok()


def test_checks_go_on_under_the_next_daemon(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.docker("run", "-d", "--name", "boat", *OFTEN, *IS_WELL, engine.image(), *FOREVER).ok()
    becomes(engine, "boat", "unhealthy")
    engine.kill()
    engine.start()
    assert health(engine, "boat")["Status"] == "unhealthy"
    engine.docker("exec", "boat", "touch", "/tmp/well").ok()
    becomes(engine, "boat", "healthy")


def test_the_images_check_is_used_changed_and_switched_off(engine: Engine, cli: Cli, shell: str) -> None:
    check = "HEALTHCHECK --interval=100ms --timeout=5s --retries=1 CMD echo from the image; false"
    archive = engine.root / "layer.tar"
    archive.write_bytes(layer(engine, shell))
    cli("import", "--change", check, archive, "ailing:1").ok()
    started = {"as-it-is": [], "changed": ["--health-cmd", "echo mine"], "off": ["--no-healthcheck"]}
    for name, flags in started.items():
        cli("run", "-d", "--name", name, *flags, "ailing:1", *FOREVER).ok()
    becomes(engine, "as-it-is", "unhealthy")
    assert health(engine, "as-it-is")["Log"][0]["Output"] == "from the image\n"
    becomes(engine, "changed", "healthy")
    assert health(engine, "changed")["Log"][0]["Output"] == "mine\n"
    assert inspected(engine, "changed")["Config"]["Healthcheck"]["Interval"] == 100_000_000
    assert "Health" not in inspected(engine, "off")["State"]
    assert cli("ps", "--filter", "health=none", "--format", "{{.Names}}").out == "off"
    cli("rm", "-f", *started).ok()
    cli("rmi", "ailing:1").ok()


def layer(engine: Engine, image: str) -> bytes:
    """The only layer of an image, as a tar archive."""
    path = engine.root / "saved.tar"
    engine.docker("save", "-o", path, image).ok()
    with tarfile.open(path) as saved:
        manifest = saved.extractfile("manifest.json")
        assert manifest
        [only] = json.load(manifest)[0]["Layers"]
        found = saved.extractfile(only)
        assert found
        return found.read()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--health-cmd", "x", "--health-interval", "10us"], "Interval in Healthcheck cannot be less than 1ms"),
        (["--health-cmd", "x", "--health-timeout=-1s"], "--health-timeout cannot be negative"),
        (["--health-cmd", "x", "--health-retries=-1"], "--health-retries cannot be negative"),
        (["--health-cmd", "x", "--health-start-period=-1s"], "--health-start-period cannot be negative"),
        (["--health-cmd", "x", "--no-healthcheck"], "--no-healthcheck conflicts with --health-* options"),
    ],
)
def test_nonsense_is_refused(cli: Cli, shell: str, flags: list[str], sentence: str) -> None:
    done = cli("run", "-d", *flags, shell, "true")
    assert done.code == 125
    assert sentence in done.stderr

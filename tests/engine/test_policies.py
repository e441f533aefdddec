"""Restart policies of real containers, why they ended, and the events of it all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]
FOREVER = ["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"]
DEAF = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]


@pytest.fixture(autouse=True)
def no_containers(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    return dict(engine.api("GET", f"/containers/{name}/json")[1])


def state(engine: Engine, name: str) -> dict[str, Any]:
    return dict(inspected(engine, name)["State"])


def up(engine: Engine, name: str) -> None:
    """It has set its traps: the first process of a container that has none is sent signals in vain."""
    engine.wait_until(lambda: engine.docker("logs", name).out == "up", f"{name} is up")


def ends(engine: Engine, name: str) -> None:
    engine.wait_until(lambda: state(engine, name)["Status"] == "exited", f"{name} has ended")


def actions(engine: Engine, name: str) -> list[str]:
    return [str(event["Action"]) for event in engine.events(f"container={name}")]


def test_on_failure_tries_so_often_with_growing_pauses(engine: Engine, cli: Cli, shell: str) -> None:
    cli("run", "-d", "--name", "failing", "--restart", "on-failure:3", shell, "sh", "-c", "exit 4").ok()
    ends(engine, "failing")
    assert (inspected(engine, "failing")["RestartCount"], state(engine, "failing")["ExitCode"]) == (3, 4)
    told = engine.events(f"container={inspected(engine, 'failing')['Id']}")
    starts = [event["timeNano"] for event in told if event["Action"] == "start"]
    dies = [event for event in told if event["Action"] == "die"]
    assert (len(starts), len(dies)) == (4, 4)
    pauses = [(start - die["timeNano"]) / 1e9 for start, die in zip(starts[1:], dies, strict=False)]
    assert [pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True)] == [True] * 3
    assert {die["Actor"]["Attributes"]["exitCode"] for die in dies} == {"4"}
    assert {die["Actor"]["Attributes"]["execDuration"] for die in dies} == {"0"}
    cli("start", "failing").ok()
    ends(engine, "failing")
    assert inspected(engine, "failing")["RestartCount"] == 3  # a user's start counts from the beginning
    cli("rm", "failing").ok()


@pytest.mark.parametrize("ends_it", [["stop"], ["kill"], ["rm", "-f"]], ids=" ".join)
def test_while_it_waits_for_its_restart(engine: Engine, shell: str, ends_it: list[str]) -> None:
    engine.docker("run", "-d", "--name", "again", "--restart", "always", shell, "false").ok()
    engine.wait_until(lambda: inspected(engine, "again")["RestartCount"] >= 3, "it is restarted")
    engine.wait_until(lambda: state(engine, "again")["Status"] == "restarting", "it waits for the next time")
    told = state(engine, "again")
    assert (told["Running"], told["Restarting"], told["Pid"], told["ExitCode"]) == (True, True, 0, 1)
    [listed] = engine.api("GET", "/containers/json")[1]
    assert (listed["State"], listed["Status"][:14]) == ("restarting", "Restarting (1)")
    status, refused = engine.api("POST", "/containers/again/exec", {"Cmd": ["true"]})
    assert (status, refused["message"][-50:]) == (409, "is restarting, wait until the container is running")
    engine.docker(*ends_it, "again").ok()
    if ends_it[0] != "rm":
        count = inspected(engine, "again")["RestartCount"]
        time.sleep(0.5)
        assert (state(engine, "again")["Status"], inspected(engine, "again")["RestartCount"]) == ("exited", count)
        engine.docker("rm", "again").ok()
    assert engine.docker("ps", "-aq", "--filter", "name=again").out == ""


def test_another_policy_counts_from_the_next_end_on(engine: Engine, shell: str) -> None:
    engine.docker("run", "-d", "--name", "changed", "--restart", "always", shell, "false").ok()
    engine.docker("update", "--restart", "no", "changed").ok()
    ends(engine, "changed")
    assert "update" in actions(engine, "changed")
    engine.docker("rm", "changed").ok()


def test_what_the_next_daemon_starts(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    image = engine.image()
    for policy in ("no", "on-failure", "always", "unless-stopped"):
        for fate in ("stopped", "killed", "lives"):
            engine.docker("run", "-d", "--name", f"{policy}-{fate}", "--restart", policy, image, *FOREVER).ok()
        engine.docker("create", "--name", f"{policy}-created", "--restart", policy, image, *FOREVER).ok()
        engine.docker("stop", "-t", "0", f"{policy}-stopped").ok()
    engine.kill()
    for policy in ("no", "on-failure", "always", "unless-stopped"):
        engine.run("kill", "-9", _init(engine, f"{policy}-killed"))
    engine.start()

    def running() -> set[str]:
        return set(engine.docker("ps", "--format", "{{.Names}}").out.split())

    wanted = {f"{policy}-lives" for policy in ("no", "on-failure", "always", "unless-stopped")}
    wanted |= {"on-failure-killed", "always-killed", "unless-stopped-killed", "always-stopped"}
    engine.wait_until(lambda: running() == wanted, "those run that should")
    time.sleep(0.3)
    assert running() == wanted


def _init(engine: Engine, name: str) -> str:
    """The process of a container whose daemon is dead, from the status that its monitor keeps."""
    import json
    import sqlite3

    database = sqlite3.connect(f"file:{engine.root}/data/engine.db?mode=ro", uri=True)
    try:
        records = [json.loads(body) for (body,) in database.execute("SELECT body FROM containers")]
    finally:
        database.close()
    [ident] = [record["id"] for record in records if record["name"] == name]
    return str(json.loads((engine.root / "exec" / "bundles" / ident / "status").read_text())["pid"])


@pytest.mark.parametrize(
    ("command", "act", "code", "cause"),
    [
        (["sh", "-c", "exit 7"], [], 7, "own"),
        (FOREVER, ["stop"], 3, "asked: SIGTERM from stop, asked by user root"),
        (FOREVER, ["stop", "-s", "INT", "-t", "0"], 137, "asked: SIGINT from stop, asked by user root, then SIGKILL"),
        (DEAF, ["stop", "-t", "1"], 137, "asked: SIGTERM from stop, asked by user root, then SIGKILL after 1 s"),
        (FOREVER, ["kill"], 137, "asked: SIGKILL from kill, asked by user root"),
        (["cat"], ["kill", "-s", "9"], 137, "asked: SIGKILL from kill, asked by user root"),
        (FOREVER, ["kill", "-s", "term"], 3, "asked: SIGTERM from kill, asked by user root"),
        (["sh", "-c", "kill -9 -1; x=$(head -c 99m /dev/zero | tail -c 99m)"], [], 137, "out-of-memory"),
    ],
)
def test_why_it_ended(engine: Engine, shell: str, command: list[str], act: list[str], code: int, cause: str) -> None:
    more = ["-m", "16m"] if cause == "out-of-memory" else []
    engine.docker("run", "-di", "--name", "ended", *more, shell, *command).ok()
    if act:
        if command in (FOREVER, DEAF):
            up(engine, "ended")
        engine.docker(*act, "ended").ok()
    ends(engine, "ended")
    told = state(engine, "ended")
    assert (told["ExitCode"], told["OOMKilled"]) == (code, cause == "out-of-memory")
    assert told["Cause"].startswith(cause)
    assert engine.sampan("ps", "-a", "--format", "{{.Cause}}", "--filter", "name=ended").out == told["Cause"]
    engine.docker("rm", "ended").ok()


def test_a_whole_life_in_events(engine: Engine, cli: Cli, shell: str) -> None:
    cli("run", "-d", "--name", "life", "--label", "of=note", shell, *FOREVER).ok()
    ident = inspected(engine, "life")["Id"]
    up(engine, "life")
    cli("exec", "life", "sh", "-c", "exit 5")
    for verb in (["pause", "life"], ["unpause", "life"], ["top", "life"], ["rename", "life", "after"]):
        cli(*verb).ok()
    for verb in (["restart", "after"], ["kill", "-s", "USR1", "after"], ["stop", "after"], ["rm", "after"]):
        cli(*verb).code  # noqa: B018
    told = engine.events(f"container={ident}", "type=container")
    seen = [event["Action"] for event in told]
    wanted = [
        *("create", "start", "exec_create: sh -c exit 5", "exec_start: sh -c exit 5", "exec_die"),
        *("pause", "unpause", "top", "rename", "kill", "die", "stop", "start", "restart", "kill"),
    ]
    assert seen[: len(wanted)] == wanted
    assert seen[-1] == "destroy"
    about = {event["Action"]: event["Actor"]["Attributes"] for event in told}
    assert all(each["of"] == "note" and each["image"] == shell for each in about.values())
    assert about["rename"] == {"of": "note", "image": shell, "name": "after", "oldName": "/life"}
    assert about["exec_die"]["exitCode"] == "5"
    assert about["exec_die"]["execID"] == about["exec_start: sh -c exit 5"]["execID"]
    signals = [event["Actor"]["Attributes"]["signal"] for event in told if event["Action"] == "kill"]
    assert signals[:2] == ["15", "10"]
    assert {event["scope"] for event in told} == {"local"}
    networks = [
        event for event in engine.events("type=network") if event["Actor"]["Attributes"].get("container") == ident
    ]
    assert [event["Action"] for event in networks] == ["connect", "disconnect"] * 2


def test_events_are_filtered(engine: Engine, shell: str) -> None:
    engine.docker("run", "--rm", "--name", "seen", "-l", "a=b", shell, "true").ok()
    assert {event["Action"] for event in engine.events("container=seen", "event=die", "event=start")} == {
        "die",
        "start",
    }
    assert {event["Type"] for event in engine.events("type=network")} == {"network"}
    assert {event["Actor"]["Attributes"]["name"] for event in engine.events("label=a=b")} == {"seen"}
    assert engine.events("label=a=c") == []
    assert {event["Type"] for event in engine.events(f"image={shell}", "container=seen")} == {"container"}
    assert {event["Actor"]["Attributes"]["name"] for event in engine.events("network=bridge")} == {"bridge"}
    assert "unsupported" not in engine.docker("events", "--since", "1s", "--until", "0s").ok().stderr
    assert engine.docker("events", "--since", "1000h", "--until", "999h").out == ""


def test_prunes(engine: Engine, cli: Cli, shell: str) -> None:
    cli("run", "--name", "old", "-l", "gone=yes", shell, "sh", "-c", "head -c 2m /dev/zero >/big").ok()
    cli("run", "--name", "kept", "-l", "gone=no", shell, "true").ok()
    cli("network", "create", "unused").ok()
    assert "reclaimed space: 0B" in cli("container", "prune", "-f", "--filter", "until=1h").out
    assert "reclaimed space: 2.097MB" in cli("container", "prune", "-f", "--filter", "label=gone=yes").out
    assert cli("ps", "-a", "--format", "{{.Names}}").out == "kept"
    done = cli("system", "prune", "-f").out
    assert "Deleted Containers:" in done
    assert "Deleted Networks:\nunused" in done
    assert cli("ps", "-aq").out == ""
    assert cli("image", "inspect", shell).code == 0
    cli("tag", shell, "spare:1").ok()
    assert cli("image", "prune", "-f", "-a", "--filter", "label=none").code == 0
    assert cli("image", "inspect", "spare:1").code == 0
    pruned = [event for event in engine.events("event=prune") if event["Type"] == "container"]
    assert "2097152" in {event["Actor"]["Attributes"]["reclaimed"] for event in pruned}
    assert (
        "more than one until" in cli("container", "prune", "-f", "--filter", "until=1h", "--filter", "until=2h").stderr
    )
    cli("rmi", "spare:1").ok()


@pytest.mark.parametrize("verb", ["kill", "pause"])
def test_what_does_not_run(engine: Engine, cli: Cli, shell: str, verb: str) -> None:
    cli("create", "--name", "still", shell, "true").ok()
    done = cli(verb, "still")
    assert done.code == 1
    prefix = "cannot kill container: still: " if verb == "kill" else ""
    assert f"{prefix}container {inspected(engine, 'still')['Id']} is not running" in done.stderr
    if verb == "kill":
        assert "cannot kill container: still: invalid signal: FOO" in cli("kill", "-s", "FOO", "still").stderr
        assert "cannot kill container: nobody: No such container: nobody" in cli("kill", "nobody").stderr
    cli("rm", "still").ok()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--restart", "always:3"], "maximum retry count can only be used with 'on-failure'"),
        (["--restart", "no:-1"], "maximum retry count can only be used with 'on-failure' and cannot be negative"),
        (["--restart", "on-failure:-1"], "maximum retry count cannot be negative"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--restart", "sometimes"], "unknown policy 'sometimes'"),
        (["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
        (["--stop-signal", "NONE"], "invalid signal: NONE"),
    ],
)
def test_nonsense_is_refused(cli: Cli, shell: str, flags: list[str], sentence: str) -> None:
    done = cli("run", "-d", *flags, shell, "true")
    assert done.code == 125
    assert sentence in done.stderr

"""Whoever of an engine's processes dies, at whatever act: all is true afterwards, and nothing is left behind.

``make test`` tries a few acts of each operation, the same each time; ``make faults`` tries them all. In between:
``SAMPAN_FAULTS`` is how many acts of each operation, ``SAMPAN_FAULTS_SEED`` chooses which.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from http.client import HTTPException

import pytest

from faults.fragile import Fragile
from faults.fuse import DAEMON, NEVER, ROLES
from faults.operations import LONG, OPERATIONS, SHORT
from harness import Leftovers

pytestmark = [pytest.mark.root, pytest.mark.timeout(7200 if "SAMPAN_FAULTS" in os.environ else 120)]

MANY = os.environ.get("SAMPAN_FAULTS", "2")
SEED = os.environ.get("SAMPAN_FAULTS_SEED", "a fixed choice, so that a run can be repeated")
MORTALS = [
    *(("daemon", name) for name in OPERATIONS),
    *(("launcher", name) for name in ("start", "exec")),
    *((role, name) for role in ("monitor", "starter", "init") for name in ("start", "run and remove", "exec")),
]
NEEDS = {"init": [pytest.mark.needs("own_init")]}


@pytest.fixture(scope="module")
def fragile() -> Iterator[Fragile]:
    with Fragile() as engine:
        yield engine


@pytest.fixture(scope="module")
def before(fragile: Fragile) -> Leftovers:
    fragile.works()
    fragile.wait_until(lambda: fragile.things().links == {"lo", "up0", fragile.bridge}, "the last links are gone")
    return fragile.things()


@pytest.mark.parametrize(
    ("role", "name"),
    [pytest.param(role, name, marks=NEEDS.get(role, ()), id=f"{role}: {name}") for role, name in MORTALS],
)
def test_death_at_any_act(fragile: Fragile, before: Leftovers, role: str, name: str) -> None:
    operation = OPERATIONS[name]
    operation.prepare(fragile)
    acts = fragile.count(ROLES[role], operation.act)
    fragile.clean()
    assert acts > 0 or role == "launcher", f"the {role} does nothing here: what is this test for?"
    failures = {}
    for act in _chosen(role, name, acts):
        try:
            _try(fragile, before, role, name, act)
        except (AssertionError, OSError, HTTPException) as failure:
            failures[f"{act} of {acts}, {fragile.fuse.where}"] = f"{type(failure).__name__}: {failure}"[:1500]
            fragile.kill()
            fragile.start()
            fragile.clean()
    assert not failures, "\n\n".join(f"{where}: {what}" for where, what in failures.items())


def _try(engine: Fragile, before: Leftovers, role: str, name: str, act: int) -> None:
    OPERATIONS[name].prepare(engine)
    engine.fuse.light(ROLES[role], act)
    OPERATIONS[name].act(engine)
    engine.fuse.put_out()
    died = engine.recover()
    assert died <= (ROLES[role] == DAEMON), "the daemon died of another's death"
    engine.check_truth()
    engine.clean()
    engine.nothing_beyond(before)
    if not act % 8:
        engine.works()


def _chosen(role: str, name: str, acts: int) -> list[int]:
    if MANY == "all":
        return list(range(1, acts + 1))
    return sorted(random.Random(f"{SEED} {role} {name}").sample(range(1, acts + 1), min(int(MANY), acts)))  # noqa: S311


def test_death_at_any_act_of_a_start(fragile: Fragile, before: Leftovers) -> None:
    """The daemon dies while it recovers from a death."""

    def begin(act: int) -> bool:
        fragile.kill()
        fragile.fuse.light(DAEMON, act)
        try:
            fragile.start()
        except AssertionError:  # it never answered
            return False
        return True

    for name, body in {"boat": LONG, "brief": {**SHORT, "ExposedPorts": {}, "HostConfig": {}}}.items():
        fragile.ask("POST", f"/containers/create?name={name}", body)
        fragile.ask("POST", f"/containers/{name}/start")
    fragile.ask("POST", "/containers/brief/wait")
    running = fragile.things()
    assert begin(NEVER)
    acts = NEVER - fragile.fuse.put_out()
    chosen = _chosen("daemon", "its start", acts)
    assert chosen
    failures = {}
    for act in chosen:
        survived = begin(act)
        fragile.fuse.put_out()
        where = fragile.fuse.where
        assert survived == (not where), fragile.log[-2000:]
        fragile.recover()
        try:
            fragile.check_truth()
            fragile.nothing_beyond(running)
            assert fragile.api("GET", "/containers/boat/json")[1]["State"]["Running"]
        except (AssertionError, OSError, HTTPException) as failure:
            failures[f"{act} of {acts}, {where}"] = f"{type(failure).__name__}: {failure}"[:1500]
            running = fragile.things()
    fragile.clean()
    assert not failures, "\n\n".join(f"{where}: {what}" for where, what in failures.items())
    fragile.nothing_beyond(before)

"""The daemon dies at any act of a pull and of a push: nothing half-visible, nothing left, and the next one works."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from faults.fragile import Fragile
from faults.fuse import DAEMON
from harness.wild_registry import Wild, layer

pytestmark = [pytest.mark.root, pytest.mark.timeout(7200 if "SAMPAN_FAULTS" in os.environ else 120)]

MANY = os.environ.get("SAMPAN_FAULTS", "2")
SEED = os.environ.get("SAMPAN_FAULTS_SEED", "a fixed choice, so that a run can be repeated")


@pytest.fixture(scope="module")
def fragile() -> Iterator[Fragile]:
    with Fragile(registries={"piece": "64k"}) as engine:
        yield engine


@pytest.fixture(scope="module")
def registry(fragile: Fragile) -> Iterator[Wild]:
    with Wild(fragile) as served:
        served.image(layer("one", 300_000), layer("two", 100_000), compressed=True)
        yield served


def pull(engine: Fragile, registry: Wild) -> None:
    engine.ask("POST", f"/images/create?fromImage={registry.name('a')}&tag=1")


def push(engine: Fragile, registry: Wild) -> None:
    engine.ask("POST", f"/images/{registry.name('a')}/push?tag=1")


@pytest.mark.parametrize("operation", [pull, push])
def test_death_at_any_act(fragile: Fragile, registry: Wild, operation: Callable[[Fragile, Wild], None]) -> None:
    name, pushing = registry.name("a:1"), operation is push
    blobs, manifests = dict(registry.blobs), dict(registry.manifests)

    def prepare() -> None:
        registry.blobs, registry.manifests = dict(blobs), dict(manifests)
        if pushing:
            pull(fragile, registry)
            registry.blobs, registry.manifests = {}, {}

    def done() -> None:
        operation(fragile, registry)
        assert fragile.api("GET", f"/images/{name}/get")[0] == 200, "all of it is here"
        assert registry.blobs == blobs
        assert registry.manifests["1"] == manifests["1"]

    prepare()
    done()  # what is imported and made once is there
    fragile.clean()
    before = fragile.things()
    prepare()
    acts = fragile.count(DAEMON, lambda _: operation(fragile, registry))
    fragile.clean()
    assert acts > 20
    every = range(1, acts + 1)
    chosen = every if MANY == "all" else random.Random(f"{SEED} {operation.__name__}").sample(every, int(MANY))  # noqa: S311
    for act in chosen:
        prepare()
        fragile.fuse.light(DAEMON, act)
        operation(fragile, registry)
        fragile.fuse.put_out()
        fragile.recover()
        status, _ = fragile.api("GET", f"/images/{name}/json")
        assert status == 404 or fragile.api("GET", f"/images/{name}/get")[0] == 200, fragile.fuse.where
        done()
        fragile.clean()
        fragile.nothing_beyond(before)

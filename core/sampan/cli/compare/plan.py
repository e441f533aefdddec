"""Which combinations of drivers are compared, and what they are compared on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sampan.cli.client import Client
from sampan.cli.failures import Failure, Refused, Usage
from sampan.cli.flags import Args

LABEL = "sampan.compare"
FAMILIES = ("runtime", "storage", "network")


class Combination(NamedTuple):
    runtime: str
    storage: str
    network: str

    @property
    def name(self) -> str:
        return " · ".join(self)


def labels(compared: Sequence[Combination]) -> dict[Combination, str]:
    """Short names: only what is not the same in all."""
    varied = [at for at in range(len(FAMILIES)) if len({each[at] for each in compared}) > 1]
    return {each: " · ".join(each[at] for at in varied) or each.name for each in compared}


class Plan(NamedTuple):
    """``keep``: what a container runs that is to stay; ``probe``: what is executed in it. ``timeout`` in seconds, for
    the command; ``size`` in bytes, of what is written and sent."""

    image: str
    command: list[str]
    keep: list[str]
    probe: list[str]
    rounds: int
    timeout: float
    size: int
    combinations: list[Combination]


def combinations(client: Client, args: Args) -> list[Combination]:
    """Every runtime with every storage with every network that was named. What was not named is the default driver;
    if nothing was, all runtimes and storages that can be used here."""
    found: list[dict[str, Any]] = client.get("/sampan/drivers")
    named = {family: _words(getattr(args, family), family) for family in FAMILIES}
    everything = not any(named.values())
    chosen = []
    for family in FAMILIES:
        mine = [driver for driver in found if driver["family"] == family]
        usable = [driver["name"] for driver in mine if driver["usable"]]
        default = [driver["name"] for driver in mine if driver["default"]]
        rest = sorted(usable, key=lambda name: name not in default) if everything and family != "network" else default
        chosen.append(named[family] or rest)
    if not all(chosen):
        raise Failure("the engine has no driver to compare: sampan drivers says why")
    return [Combination(*each) for each in _product(chosen)]


def _words(text: str, family: str) -> list[str]:
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(words) or len(set(words)) < len(words):
        raise Usage(f"invalid --{family} '{text}': write names of drivers, each once, with commas between", code=1)
    return words


def _product(lists: Sequence[list[str]]) -> list[list[str]]:
    made: list[list[str]] = [[]]
    for each in lists:
        made = [[*before, name] for before in made for name in each]
    return made


class Networks:
    """A network of each driver: one that is there, or one that is made for this and goes at the end."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._run = run
        self._known: dict[str, str] = {}
        self._made: list[str] = []

    def of(self, driver: str) -> str:
        """Its name. Raises Refused if there can be none."""
        if driver not in self._known:
            self._known[driver] = self._standard(driver) or self._new(driver)
        return self._known[driver]

    def close(self) -> None:
        for name in self._made:
            try:
                self._client.delete(f"/networks/{name}")
            except Refused:
                continue

    def _standard(self, driver: str) -> str:
        wanted = "null" if driver == "none" else driver
        names = [each["Name"] for each in self._client.get("/networks") if each["Driver"] == wanted]
        return next((name for name in names if name in ("bridge", "host", "none")), "")

    def _new(self, driver: str) -> str:
        name = f"compare-{driver}-{self._run}"
        self._client.post("/networks/create", None, {"Name": name, "Driver": driver, "Labels": {LABEL: self._run}})
        self._made.append(name)
        return name

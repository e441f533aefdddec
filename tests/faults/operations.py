"""What an engine can be asked for, each with what must be there first: the places where it may die."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import msgspec

from faults.fragile import IMAGE, Fragile

PORT = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
LONG: dict[str, Any] = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL", **PORT}
SHORT: dict[str, Any] = {"Image": IMAGE, "Cmd": ["sh", "-c", "echo words; exit 7"], **PORT}
BRIEF: dict[str, Any] = {**SHORT, "HostConfig": {**SHORT["HostConfig"], "AutoRemove": True}}
SNAPSHOTS = "/sampan/containers/boat/snapshots"
KEEPING: dict[str, Any] = {
    "Image": IMAGE,
    "Cmd": ["true"],
    "Volumes": {"/home": {}, "/anonymous": {}},
    "HostConfig": {
        "Binds": ["cargo:/bin"],
        "Mounts": [
            {
                "Type": "volume",
                "Source": "deck",
                "Target": "/deck",
                "VolumeOptions": {"DriverConfig": {"Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}},
            },
            {"Type": "volume", "Source": "cargo", "Target": "/part", "VolumeOptions": {"Subpath": "busybox"}},
        ],
    },
}


class Operation(msgspec.Struct, frozen=True):
    """``prepare`` is done by a whole engine; somebody dies while it does ``act``."""

    act: Callable[[Fragile], object]
    prepare: Callable[[Fragile], object] = lambda _engine: None


def create(engine: Fragile, body: dict[str, Any] = LONG) -> None:
    engine.ask("POST", "/containers/create?name=boat", body)


def ask(engine: Fragile, *verbs: str) -> None:
    """POST these in turn, as far as they come."""
    for verb in verbs:
        engine.ask("POST", f"/containers/boat/{verb}")


def started(engine: Fragile, body: dict[str, Any] = LONG) -> None:
    create(engine, body)
    ask(engine, "start")


def on_two_networks(engine: Fragile) -> None:
    engine.ask("POST", "/networks/create", {"Name": "sea"})
    engine.ask("POST", "/networks/create", {"Name": "lake", "Internal": True})
    wish = {"EndpointsConfig": {"sea": {}, "lake": {}}}
    create(engine, {**LONG, "HostConfig": {**PORT["HostConfig"], "NetworkMode": "sea"}, "NetworkingConfig": wish})


def beside_a_better_network(engine: Fragile) -> None:
    """By its name it is the way out of whoever is connected to it, and has the published ports."""
    subnets = [{"Subnet": "10.77.0.0/24"}, {"Subnet": "fd77::/64"}]
    engine.ask("POST", "/networks/create", {"Name": "alps", "EnableIPv6": True, "IPAM": {"Config": subnets}})
    started(engine)


def connect(engine: Fragile) -> None:
    body = {"Container": "boat", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.77.0.7"}, "Aliases": ["punt"]}}
    engine.ask("POST", "/networks/alps/connect", body)


def on_a_better_network(engine: Fragile) -> None:
    beside_a_better_network(engine)
    connect(engine)


def disconnect(engine: Fragile, network: str) -> None:
    engine.ask("POST", f"/networks/{network}/disconnect", {"Container": "boat"})


def limited(engine: Fragile) -> None:
    limits = {"Memory": 32 << 20, "MemorySwap": 32 << 20, "PidsLimit": 10}
    started(engine, {**LONG, "HostConfig": {**PORT["HostConfig"], **limits}})


def updated(engine: Fragile) -> None:
    body = {"Memory": 64 << 20, "MemorySwap": -1, "PidsLimit": 20, "RestartPolicy": {"Name": "on-failure"}}
    engine.ask("POST", "/containers/boat/update", body)


def republished(engine: Fragile) -> None:
    """A port of the host that changes hands, and one more."""
    add = {"81/tcp": [{"HostPort": "8080"}, {"HostPort": "8081"}]}
    body = {"PortBindingsRemove": {"80/tcp": [{"HostPort": "8080"}]}, "PortBindingsAdd": add}
    engine.ask("POST", "/containers/boat/update", body)


def below_a_group(engine: Fragile) -> None:
    create(engine, {**LONG, "HostConfig": {"CgroupParent": f"/fleet-{engine.instance}/inner"}})


def executed(engine: Fragile) -> None:
    made = engine.ask("POST", "/containers/boat/exec", {"Cmd": ["true"], "AttachStdout": True})
    if made and "Id" in made:  # a message, if the container has just ended
        engine.ask("POST", f"/exec/{made['Id']}/start", {})


def loaded(engine: Fragile) -> None:
    engine.ask("POST", "/images/load", (engine.root / "other.tar").read_bytes())


def archived(engine: Fragile) -> None:
    """An image of another engine's, so to say: its archive, and no trace of it here."""
    archive = engine.root / "other.tar"
    if not archive.exists():
        engine.sampan("image", "from-host", "-t", "other", "busybox", "ls").ok()
        engine.sampan("save", "-o", archive, "other").ok()
        engine.sampan("rmi", "other").ok()


def _loaded_before(engine: Fragile) -> None:
    archived(engine)
    loaded(engine)


def removed_with_volumes(engine: Fragile) -> None:
    engine.ask("DELETE", "/containers/boat?v=true")
    engine.ask("DELETE", "/volumes/cargo")


def with_a_disk(engine: Fragile) -> None:
    create(engine, {**SHORT, "HostConfig": {"StorageOpt": {"size": "8m"}, **SHORT["HostConfig"]}})


def copied(engine: Fragile) -> None:
    """Into a container that does not run, and out of it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("deck"))
    engine.ask("PUT", "/containers/boat/archive?path=/", archive.getvalue())
    engine.ask("GET", "/containers/boat/archive?path=/deck")


def with_a_snapshot(engine: Fragile) -> None:
    create(engine, SHORT)
    ask(engine, "start", "wait")
    engine.ask("POST", SNAPSHOTS)


def went_back(engine: Fragile) -> None:
    """Whatever became of it, the container can be started."""
    engine.ask("POST", f"{SNAPSHOTS}/restore?snapshot=snapshot-1")
    ask(engine, "start", "wait")


def _kept(engine: Fragile) -> None:
    create(engine, KEEPING)


OPERATIONS = {
    "create": Operation(create),
    "start": Operation(lambda engine: ask(engine, "start"), create),
    "start on two networks": Operation(lambda engine: ask(engine, "start"), on_two_networks),
    "run to the end": Operation(lambda engine: ask(engine, "start", "wait"), lambda engine: create(engine, SHORT)),
    "run and remove": Operation(lambda engine: (started(engine, BRIEF), ask(engine, "wait?condition=removed"))),
    "exec": Operation(executed, started),
    "stop": Operation(lambda engine: ask(engine, "stop"), started),
    "restart": Operation(lambda engine: ask(engine, "restart"), started),
    "pause, unpause": Operation(lambda engine: ask(engine, "pause", "unpause"), started),
    "update": Operation(updated, limited),
    "publish other ports": Operation(republished, started),
    "start below a group": Operation(lambda engine: ask(engine, "start"), below_a_group),
    "stop below a group": Operation(
        lambda engine: ask(engine, "stop"), lambda engine: (below_a_group(engine), ask(engine, "start"))
    ),
    "rename": Operation(lambda engine: ask(engine, "rename?name=ship", "rename?name=boat"), create),
    "remove by force": Operation(lambda engine: engine.ask("DELETE", "/containers/boat?force=true"), started),
    "remove": Operation(lambda engine: engine.ask("DELETE", "/containers/boat"), create),
    "create with volumes": Operation(_kept),
    "run with volumes": Operation(lambda engine: ask(engine, "start", "wait"), _kept),
    "remove with volumes": Operation(removed_with_volumes, _kept),
    "prune volumes": Operation(
        lambda engine: engine.ask("POST", '/volumes/prune?filters={"all":["true"]}'),
        lambda engine: engine.ask("POST", "/volumes/create", {"Name": "cargo"}),
    ),
    "create with a limited size": Operation(with_a_disk),
    "run with a limited size": Operation(lambda engine: ask(engine, "start", "wait"), with_a_disk),
    "copy": Operation(copied, create),
    "commit": Operation(lambda engine: engine.ask("POST", "/commit?container=boat&repo=kept"), started),
    "snapshot": Operation(lambda engine: engine.ask("POST", SNAPSHOTS), started),
    "go back to a snapshot": Operation(went_back, with_a_snapshot),
    "begin from a snapshot": Operation(
        lambda engine: engine.ask("POST", f"{SNAPSHOTS}/containers?snapshot=snapshot-1&name=twin"), with_a_snapshot
    ),
    "remove with a snapshot": Operation(lambda engine: engine.ask("DELETE", "/containers/boat"), with_a_snapshot),
    "connect": Operation(connect, beside_a_better_network),
    "disconnect": Operation(lambda engine: disconnect(engine, "alps"), on_a_better_network),
    "disconnect from another": Operation(lambda engine: disconnect(engine, "bridge"), on_a_better_network),
    "create a network": Operation(lambda engine: engine.ask("POST", "/networks/create", {"Name": "sea"})),
    "remove a network": Operation(
        lambda engine: engine.ask("DELETE", "/networks/sea"),
        lambda engine: engine.ask("POST", "/networks/create", {"Name": "sea"}),
    ),
    "load an image": Operation(loaded, archived),
    "remove an image": Operation(lambda engine: engine.ask("DELETE", "/images/other"), _loaded_before),
    "tag an image": Operation(lambda engine: engine.ask("POST", f"/images/{IMAGE}/tag?repo=again&tag=1")),
}

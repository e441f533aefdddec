"""What clients read: Docker's field names, formats and words."""

from __future__ import annotations

import os
import socket
import time

import pytest

from sampan.api import times
from sampan.api.views import containers as views
from sampan.api.views import images as image_views
from sampan.types import Endpoint, Image, Layer, Mount, State, Status
from unit.api.conftest import Daemon, Wire
from unit.api.fake_engine import IMAGE, NETWORK, container, running


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (125, "2 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (61 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (731 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert times.in_words(seconds) == words


NOW = time.time_ns()


def ago(seconds: int) -> str:
    return times.rfc3339(NOW - seconds * times.SECOND)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(), "Created"),
        (State(status=Status.RUNNING, started_at=ago(3)), "Up 3 seconds"),
        (State(status=Status.PAUSED, started_at=ago(7200)), "Up 2 hours (Paused)"),
        (State(status=Status.EXITED, started_at=ago(400), finished_at=ago(300)), "Exited (0) 5 minutes ago"),
        (State(status=Status.RESTARTING, finished_at=ago(5), exit_code=2), "Restarting (2) 5 seconds ago"),
        (State(status=Status.REMOVING), "Removal In Progress"),
        (State(status=Status.DEAD), "Dead"),
    ],
)
def test_states_in_words(state: State, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW / times.SECOND)
    assert views.status(state) == text


def test_times_go_round() -> None:
    assert times.nanoseconds(times.rfc3339(1_234_567_890_123_456_789)) == 1_234_567_890_123_456_789


def test_an_entry_of_the_list(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    entry = wire.ask("GET", "/containers/json?size=1").json[0]
    assert entry["Names"] == ["/web"]
    assert entry["Image"] == "busybox"
    assert entry["ImageID"] == IMAGE
    assert entry["Command"] == "sleep '1 2' 3"
    assert isinstance(entry["Created"], int)
    assert entry["State"] == "running"
    assert entry["Ports"] == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "Type": "tcp", "PublicPort": 8080},
        {"PrivatePort": 81, "Type": "tcp"},
    ]
    assert entry["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert (entry["SizeRw"], entry["SizeRootFs"]) == (11, 18)


def test_inspect(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    whole = wire.ask("GET", "/containers/web/json").json
    assert whole["Created"].endswith("Z")
    assert whole["State"]["Running"] is True
    assert whole["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    settings = whole["NetworkSettings"]
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}
    assert (settings["IPAddress"], settings["IPPrefixLen"], settings["Gateway"]) == ("172.17.0.2", 16, "172.17.0.1")
    assert settings["Networks"]["bridge"]["NetworkID"] == NETWORK
    assert settings["Networks"]["bridge"]["MacAddress"] == "02:42:ac:11:00:02"
    assert whole["GraphDriver"] == {"Name": "overlayfs", "Data": {"UpperDir": "/there"}}
    assert "SizeRw" not in whole


def test_inspect_of_a_container_that_does_not_run(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(container("c", "new"))
    whole = wire.ask("GET", "/containers/new/json").json
    assert whole["NetworkSettings"]["Ports"] == {}
    assert whole["State"]["Pid"] == 0


def test_temporary_mounts_are_told_once(daemon: Daemon, wire: Wire) -> None:
    """Docker lists those of --mount among the mounts, and those of --tmpfs in HostConfig alone."""
    mounts = [Mount(type="tmpfs", target="/one"), Mount(type="tmpfs", target="/two")]
    daemon.engine.containers.add(container("c", "new", mounts=mounts, host_config={"Tmpfs": {"/one/": ""}}))
    whole = wire.ask("GET", "/containers/new/json").json
    assert [mount["Destination"] for mount in whole["Mounts"]] == ["/two"]


@pytest.mark.parametrize(("version", "aliases"), [("1.44", ["mast", "c" * 12]), ("1.45", ["mast"])])
def test_old_clients_find_the_short_id_among_the_aliases(
    daemon: Daemon, wire: Wire, version: str, aliases: list[str]
) -> None:
    endpoint = Endpoint(network=NETWORK, network_name="sea", aliases=["mast"])
    daemon.engine.containers.add(container("c", "new", endpoints={"sea": endpoint}))
    whole = wire.ask("GET", f"/v{version}/containers/new/json").json
    assert whole["NetworkSettings"]["Networks"]["sea"]["Aliases"] == aliases


def test_an_image_that_was_renamed_is_shown_by_its_id(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(container("c", "new", image="sha256:" + "9" * 64))
    assert wire.ask("GET", "/containers/json?all=1").json[0]["Image"] == "sha256:" + "9" * 64


def test_images(wire: Wire) -> None:
    entry = wire.ask("GET", "/images/json").json[0]
    assert (entry["RepoTags"], entry["Labels"], entry["SharedSize"]) == (["busybox:latest"], {"l": "1"}, -1)
    assert "VirtualSize" not in entry
    assert wire.ask("GET", "/v1.43/images/json").json[0]["VirtualSize"] == 7
    whole = wire.ask("GET", "/images/busybox/json").json
    assert whole["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + "2" * 64]}
    assert whole["Config"]["Cmd"] is None


@pytest.mark.parametrize(
    ("pattern", "found"), [("busybox", 1), ("busy*", 1), ("busybox:la?est", 1), ("box*", 0), ("*/busybox", 0)]
)
def test_images_by_reference(wire: Wire, pattern: str, found: int) -> None:
    filters = f'{{"reference":["{pattern}"]}}'.replace("?", "%3F").replace("*", "%2A")
    assert len(wire.ask("GET", f"/images/json?filters={filters}").json) == found


def test_a_pull_of_what_is_no_name(wire: Wire) -> None:
    answer = wire.ask("POST", "/images/create?fromImage=docker.io%2Flibrary%2FNoSuch&tag=latest")
    assert answer.status == 400
    assert answer.message.startswith("invalid reference format: repository name (library/NoSuch) must be lowercase")


def test_an_error_of_a_load_is_told_in_the_stream(wire: Wire) -> None:
    """As dockerd does; docker-py makes its ImageLoadError of it."""
    wire.send("POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ncorrupt")
    answer = wire.answer()
    assert answer.status == 200
    assert answer.json == {"errorDetail": {"message": "the archive is corrupt"}, "error": "the archive is corrupt"}


def test_networks(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    assert wire.ask("GET", "/networks").json[0]["Containers"] == {}
    whole = wire.ask("GET", "/networks/bridge").json
    assert whole["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert whole["Containers"]["a" * 64]["IPv4Address"] == "172.17.0.2/16"


def test_logs(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    answer = wire.ask("GET", "/containers/web/logs?stdout=1&stderr=1&tail=2&since=1.5&timestamps=1")
    first = b"2024-01-01T00:00:00.000000001Z out\n"
    assert answer.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert answer.body.startswith(b"\x01\x00\x00\x00" + len(first).to_bytes(4, "big") + first + b"\x02\x00\x00\x00")
    wanted = daemon.engine.containers.calls[-1][1]
    assert (wanted.tail, wanted.since, wanted.until, wanted.stderr) == (2, 1_500_000_000, None, True)


def test_logs_of_a_terminal_are_raw(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    daemon.engine.containers.get("web").config["Tty"] = True
    assert wire.ask("GET", "/containers/web/logs?stdout=1&tail=all").body == b"out\nerr\n"


def test_logs_of_no_stream(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    assert wire.ask("GET", "/containers/web/logs").status == 400


def test_following_logs_ends_with_the_container(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send("GET /containers/web/logs?stdout=1&stderr=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    assert wire.chunk() == b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
    daemon.call(lambda: daemon.engine.containers.exit.set_result((0, "")))
    assert wire.chunk() == b""


def test_a_client_that_leaves_stops_following(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send("GET /containers/web/logs?stdout=1&stderr=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    wire.chunk()
    wire.close()
    nobody_waits(daemon)


def nobody_waits(daemon: Daemon) -> None:
    deadline = time.monotonic() + 5
    while daemon.engine.containers.waits and time.monotonic() < deadline:
        time.sleep(0.01)
    assert daemon.engine.containers.waits == 0


def test_wait_sends_its_head_before_there_is_an_exit(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send("POST /containers/web/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.head()[0] == 200
    assert daemon.engine.containers.waits == 1
    assert daemon.engine.containers.exit is not None
    daemon.call(daemon.engine.containers.exit.set_result, (7, ""))
    assert wire.chunk() == b'{"StatusCode":7}\r\n'
    assert wire.chunk() == b""
    assert wire.ask("GET", "/_ping").status == 200


def test_wait_for_nobody(wire: Wire) -> None:
    assert wire.ask("POST", "/containers/nosuch/wait").status == 404
    assert wire.ask("POST", "/containers/nosuch/wait?condition=forever").status == 400


def test_a_client_that_leaves_stops_its_wait(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send("POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    wire.close()
    nobody_waits(daemon)


def test_events(daemon: Daemon, wire: Wire) -> None:
    bus = daemon.engine.events
    bus.publish("container", "create", "1" * 64, {"image": "busybox", "name": "early"})
    wire.send('GET /events?since=1&filters={"type":["container"],"image":["busybox"]} HTTP/1.1\r\nHost: x\r\n\r\n')
    assert wire.head()[0] == 200
    assert b'"early"' in wire.chunk()
    bus.publish("network", "create", "2" * 64, {"name": "no"})
    bus.publish("container", "start", "1" * 64, {"image": "busybox", "name": "late"})
    told = wire.chunk()
    assert b'"late"' in told
    assert b'"status":"start"' in told
    assert b'"from":"busybox"' in told


def test_events_until_now_end(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.events.publish("image", "tag", "x", {"name": "y"})
    answer = wire.ask("GET", f"/events?since=1&until={time.time() + 0.2:.3f}")
    assert answer.body.count(b"\n") == 1


def test_stats_once(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    entry = wire.ask("GET", "/containers/web/stats?stream=0&one-shot=1").json
    assert entry["cpu_stats"]["cpu_usage"]["total_usage"] == 5
    assert entry["cpu_stats"]["system_cpu_usage"] > 0
    assert entry["memory_stats"]["limit"] > 0


def test_stats_count_the_networks_interfaces(daemon: Daemon, wire: Wire) -> None:
    boat = running()
    boat.state.pid = os.getpid()
    boat.host_config["NetworkMode"] = "bridge"
    daemon.engine.containers.add(boat)
    networks = wire.ask("GET", "/containers/web/stats?stream=0&one-shot=1").json["networks"]
    assert networks.keys() == {name for _, name in socket.if_nameindex()} - {"lo"}
    assert all(counters.keys() == _COUNTERS and min(counters.values()) >= 0 for counters in networks.values())


_COUNTERS = {f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")}


def test_nothing_to_prune(wire: Wire) -> None:
    """``docker system prune`` asks for it, whether there is a build cache or not."""
    assert wire.ask("POST", "/build/prune").json == {"CachesDeleted": None, "SpaceReclaimed": 0}


@pytest.mark.parametrize(
    ("version", "filters", "removed"),
    [
        ("1.50", "", ["9" * 64]),
        ("1.50", '{"all":["true"]}', ["log", "9" * 64]),
        ("1.50", '{"all":["true"],"label":["a=b"]}', ["log"]),
        ("1.50", '{"label!":["com.docker.volume.anonymous"]}', []),
        ("1.41", "", ["log", "9" * 64]),
    ],
)
def test_which_volumes_are_pruned(wire: Wire, version: str, filters: str, removed: list[str]) -> None:
    answer = wire.ask("POST", f"/v{version}/volumes/prune?filters={filters}").json
    assert answer == {"VolumesDeleted": removed, "SpaceReclaimed": 12 * len(removed)}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ('{"dangling":["true"]}', ["log", "9" * 64]),
        ('{"dangling":["false"]}', ["old"]),
        ('{"driver":["local"]}', ["log", "old", "9" * 64]),
        ('{"driver":["nfs"]}', []),
        ('{"name":["l"]}', ["log", "old"]),
        ('{"label":["a=b"]}', ["log"]),
    ],
)
def test_which_volumes_are_listed(wire: Wire, filters: str, names: list[str]) -> None:
    answer = wire.ask("GET", f"/volumes?filters={filters}").json
    assert ([volume["Name"] for volume in answer["Volumes"]], answer["Warnings"]) == (names, None)


def test_a_volume(wire: Wire) -> None:
    assert wire.ask("GET", "/volumes/old").json == {
        "CreatedAt": "2024-01-02T00:00:00Z",
        "Driver": "local",
        "Labels": None,
        "Mountpoint": "/volumes/old/_data",
        "Name": "old",
        "Options": {"device": "tmpfs", "type": "tmpfs"},
        "Scope": "local",
    }


def test_a_volume_that_is_missing(wire: Wire) -> None:
    for method in ("GET", "DELETE"):
        answer = wire.ask(method, "/volumes/none")
        assert (answer.status, answer.message) == (404, "get none: no such volume")
    assert wire.ask("DELETE", "/volumes/none?force=1").status == 204


def test_a_type_of_network_that_is_none(wire: Wire) -> None:
    answer = wire.ask("GET", '/networks?filters={"type":["bogus"]}')
    assert (answer.status, answer.message) == (400, "invalid filter: 'type'='bogus': it is builtin or custom")


def test_sizes_of_layers_that_images_share() -> None:
    base, one, two = Layer(diff_id="b", size=5), Layer(diff_id="1", size=2), Layer(diff_id="2", size=3)
    images = [Image(id=i, config={}, layers=[base, own], created="", size=0) for i, own in (("x", one), ("y", two))]
    assert image_views.layers_size(images) == 10
    assert image_views.shared_sizes(images) == {"x": 5, "y": 5}


def test_an_image_without_a_name_for_old_clients() -> None:
    nameless = Image(id="x", config={}, layers=[], created="", size=0)
    assert image_views.summary(nameless, 0, (1, 42))["RepoTags"] == ["<none>:<none>"]
    assert image_views.summary(nameless, 0, (1, 43))["RepoTags"] == []


def test_info_has_what_the_cli_prints(wire: Wire) -> None:
    info = wire.ask("GET", "/info").json
    for key in ("Containers", "Images", "Driver", "DriverStatus", "Plugins", "MemTotal", "NCPU", "KernelVersion"):
        assert key in info
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert info["DefaultRuntime"] in info["Runtimes"]


def test_disk_usage(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    usage = wire.ask("GET", "/system/df").json
    assert (usage["LayersSize"], len(usage["Containers"]), usage["Images"][0]["Containers"]) == (7, 1, 1)
    assert [volume["UsageData"] for volume in usage["Volumes"]] == [
        {"RefCount": 0, "Size": 12},
        {"RefCount": 1, "Size": 12},
        {"RefCount": 0, "Size": 12},
    ]
    assert wire.ask("GET", "/system/df?type=image").json["Containers"] == []

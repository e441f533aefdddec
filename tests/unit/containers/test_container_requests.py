"""Create requests: what is refused and how, what is filled in, and that nothing but kinds of error ever comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from msgspec.structs import fields

from harness import bodies
from sampan.containers.requests import checks, config, request
from sampan.errors import Internal, Invalid, SampanError, Unsupported
from sampan.types import Container, Image
from unit.containers.container_house import House, house

DEFAULTS = config.Defaults()


def complete(body: dict[str, Any], image: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = config.read({"Image": "x", "Cmd": ["true"], **body})
    config.merge(asked, image or {})
    return config.complete(asked, "0123456789ab" + "c" * 52, DEFAULTS)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"HostConfig": {"Memory": 1}}, "Minimum memory limit allowed is 6MB"),
    ({"HostConfig": {"Memory": -1}}, "Minimum memory limit allowed is 6MB"),
    ({"HostConfig": {"Memory": "1g"}}, "invalid value for HostConfig.Memory: must be int, not str"),
    ({"NetworkingConfig": {"EndpointsConfig": []}}, "NetworkingConfig.EndpointsConfig must be a JSON object"),
    ({"NetworkingConfig": {"EndpointsConfig": {"x": 1}}}, "NetworkingConfig.EndpointsConfig.x must be a JSON object"),
    (
        {"NetworkingConfig": {"EndpointsConfig": {"x": {"Aliases": None, "IPAMConfig": {"IPv4Address": 1}}}}},
        "invalid value for NetworkingConfig.EndpointsConfig.x.IPAMConfig.IPv4Address: must be str, not int",
    ),
    ({"HostConfig": {"Memory": 8 << 20, "MemorySwap": 7 << 20}}, "memoryswap limit should be larger"),
    ({"HostConfig": {"MemorySwap": 7 << 20}}, "always set the Memory limit"),
    ({"HostConfig": {"MemorySwappiness": 101}}, "valid memory swappiness range is 0-100"),
    ({"HostConfig": {"NanoCpus": 10**15}}, "range of CPUs is from 0.01 to"),
    ({"HostConfig": {"NanoCpus": 10**9, "CpuQuota": 5000}}, "Nano CPUs and CPU Quota cannot both be set"),
    ({"HostConfig": {"CpuPeriod": 1}}, "CPU cfs period can not be less than 1ms"),
    ({"HostConfig": {"CpusetCpus": "9-1"}}, "Invalid value 9-1 for cpuset cpus"),
    ({"HostConfig": {"CpusetCpus": "8000"}}, "Requested CPUs are not available"),
    ({"HostConfig": {"PidsLimit": 2**40}}, "invalid pids limit 1099511627776"),
    ({"HostConfig": {"BlkioWeight": 5}}, "Range of blkio weight is from 10 to 1000"),
    ({"HostConfig": {"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 1}]}}, "Range of blkio weight is from 10"),
    ({"HostConfig": {"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 10}]}}, "/dev/null is not a block device"),
    (
        {"HostConfig": {"BlkioDeviceReadBps": [{"Path": "/dev/no", "Rate": 1}]}},
        "stat /dev/no: no such file or directory",
    ),
    ({"HostConfig": {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": -1}]}}, "HostConfig.BlkioDeviceReadBps"),
    ({"HostConfig": {"BlkioDeviceWriteIOps": [None]}}, "HostConfig.BlkioDeviceWriteIOps"),
    ({"HostConfig": {"CgroupParent": "/a/../../b"}}, "invalid cgroup parent"),
    ({"HostConfig": {"CgroupParent": "a\nb"}}, "invalid cgroup parent"),
    ({"HostConfig": {"CgroupnsMode": "mine"}}, "HostConfig.CgroupnsMode"),
    ({"HostConfig": {"MemoryReservation": 1}}, "Minimum memory reservation allowed is 6MB"),
    ({"HostConfig": {"Memory": 8 << 20, "MemoryReservation": 9 << 20}}, "can not be less than memory reservation"),
    ({"HostConfig": {"MemorySwap": -2}}, "invalid memory swap limit -2"),
    ({"HostConfig": {"CpuShares": -1}}, "invalid CPU shares (-1): value must be a positive integer"),
    ({"HostConfig": {"CpuQuota": 999}}, "CPU cfs quota can not be less than 1ms"),
    ({"HostConfig": {"CpusetMems": "77"}}, "Requested memory nodes are not available - requested 77, available: "),
    ({"HostConfig": {"CpuRealtimePeriod": 1, "CpuRealtimeRuntime": 2}}, "cpu real-time"),
    ({"HostConfig": {"IOMaximumIOps": 1}}, "Invalid QoS settings"),
    ({"HostConfig": {"OomScoreAdj": 1001}}, "range for oom score adj is"),
    ({"HostConfig": {"ShmSize": -1}}, "SHM size can not be less than 0"),
    ({"HostConfig": {"Ulimits": [{"Name": "files", "Soft": 1, "Hard": 1}]}}, "invalid ulimit type: files"),
    ({"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}}, "must be less than or equal to hard"),
    ({"HostConfig": {"CapAdd": ["FLY"]}}, 'invalid CapAdd: unknown capability: "CAP_FLY"'),
    ({"HostConfig": {"SecurityOpt": ["x=y"]}}, "invalid --security-opt 2"),
    ({"HostConfig": {"SecurityOpt": ["seccomp={"]}}, "the profile is not JSON"),
    ({"HostConfig": {"SecurityOpt": ['seccomp={"defaultAction":"x"}']}}, "opening seccomp profile failed"),
    ({"HostConfig": {"Sysctls": {"kernel.hostname": "x"}}}, "is not in a namespace of the container"),
    ({"HostConfig": {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"}}, "uses the host's network mode"),
    ({"HostConfig": {"Sysctls": {"net/../../x": "1"}}}, "is not in a namespace of the container"),
    ({"HostConfig": {"RestartPolicy": {"Name": "maybe"}}}, "unknown policy 'maybe'; use one of 'no', 'always'"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True}}, "can't create 'AutoRemove' container"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}}, "only be used with 'on-failure'"),
    ({"HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": -1}}}, "'on-failure' and cannot be negative"),
    ({"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}}, "count cannot be negative"),
    ({"Labels": {"sampan.restart-unhealthy": "yes"}}, "sampan.restart-unhealthy=yes: true or false is expected"),
    ({"Labels": {"sampan.restart-unhealthy": "true"}, "HostConfig": {"AutoRemove": True}}, "can't create 'AutoRemove'"),
    ({"HostConfig": {"ExtraHosts": ["x"]}}, 'bad format for add-host: "x"'),
    ({"HostConfig": {"ExtraHosts": ["x:1.2.3.4.5"]}}, "invalid IP address in add-host"),
    ({"HostConfig": {"Dns": ["one"]}}, "one is not an IP address"),
    ({"HostConfig": {"PidMode": "mine"}}, "invalid PID mode: mine"),
    ({"HostConfig": {"Binds": ["/a:b"]}}, "mount path must be absolute"),
    ({"HostConfig": {"Binds": ["/a:/"]}}, "destination can't be '/'"),
    ({"HostConfig": {"Binds": ["/a:/b:x"]}}, "invalid mode: x"),
    ({"HostConfig": {"Binds": ["/a:/b", "/c:/b/"]}}, "Duplicate mount point: /b"),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]}}, "bind source path does not"),
    ({"HostConfig": {"Mounts": [{"Type": "cloud", "Target": "/x"}]}}, "mount type unknown"),
    ({"HostConfig": {"Tmpfs": {"/x": "colour=red"}}}, 'invalid tmpfs option "colour=red"'),
    ({"HostConfig": {"LogConfig": {"Type": "paper"}}}, "no log driver named 'paper' is registered"),
    ({"HostConfig": {"LogConfig": {"Config": {"max-size": "big"}}}}, "invalid size: 'big'"),
    ({"HostConfig": {"NetworkMode": "container:x"}, "Hostname": "h"}, "conflicting options: hostname and the network"),
    ({"HostConfig": {"UTSMode": "host"}, "Hostname": "h"}, "conflicting options: hostname and the UTS mode"),
    ({"HostConfig": []}, "HostConfig must be a JSON object"),
    ({"Hostname": "a b"}, "invalid hostname format: a b"),
    ({"Hostname": "h" * 65}, "is too long"),
    ({"Env": ["=x"]}, "invalid environment variable: =x"),
    ({"Env": ["A=\0"]}, "Env contains a NUL character"),
    ({"StopSignal": "SIGNAL"}, "invalid signal: SIGNAL"),
    ({"WorkingDir": "tmp"}, "needs to be an absolute path"),
    ({"Image": ""}, "no image is named"),
    ({"Cmd": []}, "no command specified"),
    ({"Cmd": {"a": 1}}, "invalid value for Cmd"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Timeout": -1}}, "Timeout in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartPeriod": 999999}}, "StartPeriod in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartInterval": 1}}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
    ({"Healthcheck": {"Test": ["CURL", "x"]}}, "unknown type in Healthcheck: CURL"),
    ({"Healthcheck": {"Test": ["CMD"]}}, "no command is given in Healthcheck after CMD"),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSED)
def test_refused_with_one_sentence(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        complete(body)
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        {"HostConfig": {"Mounts": [{"Type": "image", "Source": "x", "Target": "/x"}]}},
    ],
)
def test_what_would_not_be_honoured_is_not_passed_over(body: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        complete(body)


def test_defaults_are_dockers() -> None:
    own, host = complete({})
    assert (own["Hostname"], own["Cmd"], own["Entrypoint"], own["Volumes"]) == ("0123456789ab", ["true"], None, None)
    assert host["NetworkMode"] == "bridge"
    assert host["ShmSize"] == 67108864
    assert (host["IpcMode"], host["RestartPolicy"]["Name"]) == ("private", "no")
    assert "/proc/kcore" in host["MaskedPaths"]
    assert "/proc/sys" in host["ReadonlyPaths"]
    assert {"ExposedPorts", "Healthcheck", "StopTimeout"}.isdisjoint(own)
    assert set(host) >= {field.name for field in fields(request.HostConfig)} - {"Annotations", "StorageDriver"} - {
        "KernelMemory",
        "KernelMemoryTCP",
    }


@pytest.mark.parametrize("name", ["under_score", "-dash", "dot.", "odd!"])
def test_names_of_hosts_are_the_users_own(name: str) -> None:
    """Docker gave up refusing them: such names are in use."""
    assert complete({"Hostname": name})[0]["Hostname"] == name


def test_ports_of_a_container_on_the_hosts_network() -> None:
    body = {"Image": "x", "HostConfig": {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}}
    assert "Published ports are discarded when using host network mode" in config.read(body).warnings


def test_bindings_of_ports_have_both_keys() -> None:
    _, host = complete({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}], "81/tcp": None}}})
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": None}


def test_nulls_are_defaults() -> None:
    nulls = {field.name: None for field in fields(request.HostConfig)}
    assert complete({"HostConfig": nulls, "Env": None, "Labels": None})[1] == complete({})[1]


def test_swap_is_twice_the_memory() -> None:
    assert complete({"HostConfig": {"Memory": 10 << 20}})[1]["MemorySwap"] == 20 << 20


def test_privileged_sees_everything() -> None:
    host = complete({"HostConfig": {"Privileged": True}})[1]
    assert host["MaskedPaths"] is None
    assert host["ReadonlyPaths"] is None


IMAGE = {
    "Cmd": ["image"],
    "Entrypoint": ["/entry"],
    "Env": ["A=image", "B=image"],
    "Labels": {"a": "image", "b": "image"},
    "WorkingDir": "/srv//app/",
    "User": "web",
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGQUIT",
}


def test_the_image_fills_what_is_open() -> None:
    own, _ = complete({"Cmd": None, "Env": ["A=mine"], "Labels": {"a": "mine"}}, IMAGE)
    assert (own["Entrypoint"], own["Cmd"]) == (["/entry"], ["image"])
    assert own["Env"] == ["A=mine", "B=image"]
    assert own["Labels"] == {"a": "mine", "b": "image"}
    assert (own["WorkingDir"], own["User"], own["StopSignal"]) == ("/srv/app", "web", "SIGQUIT")
    assert own["ExposedPorts"] == {"80/tcp": {}}


def test_what_an_image_says_wrongly_is_left_out_or_told() -> None:
    odd = {**IMAGE, "StopSignal": "NOPE", "ExposedPorts": {"x": {}, "0/tcp": {}, "9": {}, "8-9/udp": {}, "1/x": {}}}
    own, _ = complete({"Cmd": None}, odd)
    assert ("StopSignal" in own, set(own["ExposedPorts"])) == (False, {"9", "8-9/udp"})
    for key, value in (("WorkingDir", "/a\0"), ("User", "a\0"), ("Env", ["A=\0"]), ("Volumes", {"/a\0": {}})):
        with pytest.raises(Invalid, match=f"{key} contains a NUL character"):
            complete({"Cmd": None}, {**IMAGE, key: value})
    with pytest.raises(Invalid, match="Cmd contains a NUL character"):
        complete({"Cmd": ["echo", "\0"]}, IMAGE)
    with pytest.raises(Invalid, match="invalid environment variable: =x"):
        complete({"Cmd": None}, {**IMAGE, "Env": ["=x"]})


def test_an_image_for_another_machine_is_warned_of() -> None:
    def warnings(asked_for: str, **machine: str) -> list[str]:
        return checks.platform_warnings(asked_for, Image(id="x", config=machine, layers=[], created="", size=0))

    [warning] = warnings("", os="linux", architecture="s390x")
    assert "image's platform (linux/s390x) does not match the detected host platform (linux/" in warning
    assert not warnings("linux/s390x", architecture="s390x")
    assert not warnings("")


@pytest.mark.parametrize(
    ("asked", "entrypoint", "cmd"),
    [
        ({"Cmd": ["x"]}, ["/entry"], ["x"]),
        ({"Cmd": None, "Entrypoint": ["/mine"]}, ["/mine"], None),
        ({"Cmd": None, "Entrypoint": "/mine"}, ["/mine"], None),
        ({"Cmd": ["x"], "Entrypoint": [""]}, None, ["x"]),
        ({"Cmd": None, "Entrypoint": []}, None, ["image"]),
    ],
)
def test_entrypoint_and_command(asked: dict[str, Any], entrypoint: Any, cmd: Any) -> None:
    own, _ = complete(asked, IMAGE)
    assert (own["Entrypoint"], own["Cmd"]) == (entrypoint, cmd)


# ── generated ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=some.none() | bodies.words, body=bodies.bodies())
def test_create_raises_nothing_but_kinds_and_leaves_nothing(
    home: House, name: str | None, body: dict[str, Any]
) -> None:
    before = dict(home.recorded())
    volumes = home.parts.volumes.list()
    record, refusal = attempt(home, name, body)
    if record is None:
        assert home.parts.volumes.list() == volumes
        assert refusal
        assert home.recorded().keys() == before.keys()
        assert home.storage.roots == set(before)
    else:
        assert home.recorded()[record.id] == record
        home.containers.remove(record.id, volumes=True)
        home.settle()
        for volume in record.mounts:
            if volume.type == "volume" and not volume.options.get("anonymous"):
                home.parts.volumes.remove(volume.name)
        assert home.parts.volumes.list() == volumes


def attempt(home: House, name: str | None, body: dict[str, Any]) -> tuple[Container | None, str]:
    try:
        return home.containers.create(name, body)[0], ""
    except Internal:
        raise
    except SampanError as error:
        return None, error.message


def test_a_failing_driver_leaves_nothing(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        made.failing["storage.create"] = Unsupported("no")
        with pytest.raises(Unsupported):
            made.create("one")
        assert not made.storage.roots
        assert not list((tmp_path / "data").glob("containers/*"))
        made.failing.clear()
        assert made.create("one").name == "one"

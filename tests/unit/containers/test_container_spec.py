"""The OCI configuration, with Docker's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sampan.containers.bundle import mounts, spec
from sampan.containers.bundle.users import User
from sampan.containers.files import hostfiles
from sampan.containers.requests import config
from sampan.drivers.types import EndpointSpec
from sampan.networks.names import resolvconf
from sampan.types import Container, Endpoint

ROOT = User(0, 0, (0, 10), "/root")
WEB = User(100, 101, (101,), "/home/web")


def container(host: dict[str, Any] | None = None, **own: Any) -> Container:
    asked = config.read({"Image": "x", "Cmd": ["sh", "-c", "true"], **own, "HostConfig": host or {}})
    config.merge(asked, {"Env": ["LANG=C"]})
    ident = "0123456789ab" + "c" * 52
    completed, host_config = config.complete(asked, ident, config.Defaults())
    return Container(
        id=ident,
        name="x",
        created="",
        image="",
        image_reference="x",
        layer="",
        config=completed,
        host_config=host_config,
        path="sh",
        args=["-c", "true"],
        storage_driver="overlayfs",
        runtime="native",
        mounts=asked.mounts,
    )


def built(record: Container, user: User = ROOT, **around: Any) -> dict[str, Any]:
    given = {"rootfs": Path("/run/b/rootfs"), "files": {}, "network": Path("/run/netns/x"), "own_network": True}
    return spec.build(record, spec.Surroundings(user=user, **{**given, **around}))


def test_the_usual() -> None:
    made = built(container())
    assert json.loads(json.dumps(made)) == made  # nothing but plain values
    process = made["process"]
    assert process["args"] == ["sh", "-c", "true"]
    assert process["env"] == [f"PATH={spec.PATH}", "HOSTNAME=0123456789ab", "LANG=C", "HOME=/root"]
    assert (process["cwd"], process["terminal"], process["noNewPrivileges"]) == ("/", False, False)
    assert process["user"] == {"uid": 0, "gid": 0, "additionalGids": [0, 10]}
    assert len(process["capabilities"]["effective"]) == 14
    kinds = {entry["type"] for entry in made["linux"]["namespaces"]}
    assert kinds == {"mount", "network", "uts", "ipc", "pid", "cgroup"}
    assert {"type": "network", "path": "/run/netns/x"} in made["linux"]["namespaces"]
    assert made["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    shm = next(mount for mount in made["mounts"] if mount["destination"] == "/dev/shm")
    assert "size=67108864" in shm["options"]
    assert made["linux"]["resources"].keys() == {"devices"}
    assert "seccomp" in made["linux"]


def test_somebody_else_than_root_has_no_capabilities_to_begin_with() -> None:
    sets = built(container(), WEB)["process"]["capabilities"]
    assert (len(sets["bounding"]), sets["effective"], sets["permitted"]) == (14, [], [])


def test_limits() -> None:
    host = {"Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 32, "CpuShares": 7, "BlkioWeight": 100}
    resources = built(container(host))["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources["cpu"] == {"shares": 7, "quota": 50_000, "period": 100_000}
    assert (resources["pids"], resources["blockIO"]) == ({"limit": 32}, {"weight": 100})
    limits = [{"Name": "nofile", "Soft": 5, "Hard": -1}]
    [limit] = built(container({"Ulimits": limits}))["process"]["rlimits"]
    assert limit == {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 2**64 - 1}


def test_privileged() -> None:
    made = built(container({"Privileged": True}))
    assert "seccomp" not in made["linux"]
    assert made["linux"]["maskedPaths"] == []
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert any(device["path"] == "/dev/null" for device in made["linux"]["devices"])
    assert all("ro" not in mount["options"] for mount in made["mounts"])


def test_the_hosts_namespaces() -> None:
    host = {"NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host", "CgroupnsMode": "host"}
    made = built(container(host), network=None, own_network=False, memory=Path("/dev/shm"))
    assert made["linux"]["namespaces"] == [{"type": "mount"}]
    assert made["linux"]["sysctl"] == {}
    assert "hostname" not in made
    types = {mount["destination"]: mount["type"] for mount in made["mounts"]}
    assert (types["/dev/shm"], types["/dev/mqueue"]) == ("bind", "mqueue")  # hosts without /dev/mqueue exist


def test_namespaces_of_another() -> None:
    ipc, pid = Path("/proc/7/ns/ipc"), Path("/proc/8/ns/pid")
    made = built(container({"IpcMode": "container:a", "PidMode": "container:b"}), ipc=ipc, pid=pid, memory=Path("/x"))
    assert {"type": "ipc", "path": str(ipc)} in made["linux"]["namespaces"]
    assert {"type": "pid", "path": str(pid)} in made["linux"]["namespaces"]
    shm = next(mount for mount in made["mounts"] if mount["destination"] == "/dev/shm")
    assert (shm["type"], shm["source"]) == ("bind", "/x")


def test_an_init_is_asked_for_only_where_it_is_process_1() -> None:
    assert built(container({"Init": True}))["annotations"] == {"sampan.init": "true"}
    assert "annotations" not in built(container({"Init": True, "PidMode": "host"}))


def test_without_network_never_means_the_hosts() -> None:
    made = built(container(NetworkDisabled=True), network=None, own_network=True)
    assert {"type": "network"} in made["linux"]["namespaces"]


def test_the_users_mounts_win(tmp_path: Path) -> None:
    host = {
        "Binds": [f"{tmp_path}:/etc/hosts:ro", f"{tmp_path}:/a/b", f"{tmp_path}:/a:rshared"],
        "Tmpfs": {"/dev/shm": "size=1m,exec"},
    }
    made = built(container(host), files={"/etc/hosts": tmp_path / "hosts", "/etc/hostname": tmp_path / "hostname"})
    places = [mount["destination"] for mount in made["mounts"]]
    assert len(places) == len(set(places))
    assert places.index("/a") < places.index("/a/b")
    by_place = {mount["destination"]: mount for mount in made["mounts"]}
    assert by_place["/etc/hosts"]["source"] == str(tmp_path)
    assert {"ro", "rbind"} <= set(by_place["/etc/hosts"]["options"])
    assert by_place["/dev/shm"]["options"] == ["nosuid", "nodev", "size=1m", "exec"]
    assert made["linux"]["rootfsPropagation"] == "rshared"


@pytest.mark.parametrize("read_only", [True, False])
def test_a_read_only_root_has_read_only_files(tmp_path: Path, read_only: bool) -> None:
    made = built(container({"ReadonlyRootfs": read_only}), files={"/etc/hosts": tmp_path / "hosts"})
    [hosts] = [mount for mount in made["mounts"] if mount["destination"] == "/etc/hosts"]
    assert ("ro" in hosts["options"]) is read_only


def test_a_missing_source_of_a_bind_is_made(tmp_path: Path) -> None:
    source = tmp_path / "new" / "er"
    mounts.prepare(container({"Binds": [f"{source}:/x"]}).mounts)
    assert source.is_dir()


def test_environment() -> None:
    assert spec.merged_environment(["A=1", "B=2"], ["B=3", "C=4", "A"]) == ["B=3", "C=4"]
    assert spec.with_home(["HOME=/x"], ROOT) == ["HOME=/x"]


def test_hosts() -> None:
    record = container({"ExtraHosts": ["db:10.1.1.1", "up:host-gateway", "six:[::2]"]}, Domainname="example")
    endpoint = EndpointSpec(id="e", container=record.id, interface="eth0", addresses=("10.0.0.2/24",))
    record.endpoints["bridge"] = Endpoint(network="n", network_name="bridge", spec=endpoint)
    text = hostfiles.hosts(record, gateway="10.0.0.1", basis="127.0.0.1\tlocalhost")
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "10.1.1.1\tdb",
        "10.0.0.1\tup",
        "::2\tsix",
        "10.0.0.2\t0123456789ab.example 0123456789ab",
    ]


def test_resolv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "nameserver 127.0.0.1\nnameserver 192.0.2.1 # ours\nsearch a b\noptions rotate\n"
    (tmp_path / "resolv.conf").write_text(text)
    monkeypatch.setattr(resolvconf, "HOSTS_OWN", tmp_path / "resolv.conf")

    def resolv(host: dict[str, Any] | None = None, defaults: Any = None, *, named: bool = False) -> list[str]:
        return hostfiles.resolv(container(host or {}), defaults or {}, named=named).splitlines()

    assert resolv() == ["nameserver 192.0.2.1", "search a b", "options rotate"]
    assert "nameserver 127.0.0.1" in resolv({"NetworkMode": "host"})
    assert resolv(named=True)[:3] == ["nameserver 127.0.0.11", "search a b", "options rotate ndots:0"]
    assert "# ExtServers: [host(127.0.0.1) host(192.0.2.1)]" in resolv(named=True)
    own = {"Dns": ["9.9.9.9"], "DnsSearch": ["."], "DnsOptions": ["timeout:1"]}
    assert resolv(own) == ["nameserver 9.9.9.9", "options timeout:1"]
    assert resolv({**own, "DnsOptions": ["ndots:2"]}, named=True)[:2] == ["nameserver 127.0.0.11", "options ndots:2"]
    assert resolv(defaults={"dns": ["9.9.9.9"], "dns_search": ["c"]})[:2] == ["nameserver 9.9.9.9", "search c"]

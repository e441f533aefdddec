"""``sampan doctor``: each reason why a port is not reachable, made true for real; and what it says of the host."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from harness import Engine
from harness.net import INSIDE

pytestmark = pytest.mark.root

SERVE = "echo aboard >/tmp/index.html; for at in {}; do busybox httpd -p $at -h /tmp; done; exec sleep 1000"


class Doctor:
    """Runs containers and asks about them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, name: str, *options: str, listen: str = "80") -> None:
        """A web server that listens where it is told, and a name server, for datagrams."""
        serve = ["sh", "-c", SERVE.format(listen)]
        self.engine.docker("run", "-d", "--init", "--name", name, *options, self.engine.image(), *serve).ok()
        last = listen.split(" ")[-1]
        self.engine.wait_until(
            lambda: f" listens on {last}/tcp" in str(self.told(f"{name}:{last}")["Steps"]), "it listens"
        )

    def says(self, port: str) -> str:
        return str(self.told(port)["Says"])

    def told(self, port: str) -> dict[str, Any]:
        container, _, number = port.rpartition(":")
        status, told = self.engine.api("GET", f"/sampan/containers/{container}/doctor?port={number}")
        assert status == 200, told
        found: dict[str, Any] = told
        return found

    def fetched(self, url: str) -> bool:
        got = self.engine.run("busybox", "timeout", "1", "busybox", "wget", "-q", "-O", "-", url)
        return got.stdout == "aboard\n"


@pytest.fixture(scope="module")
def doctor(engine: Engine) -> Doctor:
    """There is a container ``web``: 80 is as it should be, 81 listens on 127.0.0.1, 82 is published on 127.0.0.1, on 83
    nobody listens, and 84 is not published."""
    doctor = Doctor(engine)
    ports = ["8080:80", "8081:81", "127.0.0.1:8082:82", "8083:83", "5353:53/udp", "8083:83/udp"]
    doctor.run("web", *(word for port in ports for word in ("-p", port)), listen="80 127.0.0.1:81 82 84")
    return doctor


def listener(engine: Engine, *inside: str, address: str, port: int, kind: str = "STREAM") -> Any:
    """A program that listens on the host, or where ``inside`` leads."""
    script = (
        "import socket, sys, time; address, port, kind = sys.argv[1:]; "
        "s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, getattr(socket, 'SOCK_' + kind)); "
        "s.bind((address, int(port))); kind == 'STREAM' and s.listen(); print(flush=True); time.sleep(60)"
    )
    started = engine.popen(*inside, sys.executable, "-c", script, address, port, kind, stdout=-1)
    assert started.stdout
    started.stdout.readline()
    return started


def test_a_port_that_is_reachable_step_by_step(doctor: Doctor) -> None:
    assert doctor.fetched("http://127.0.0.1:8080/")
    found = doctor.engine.sampan("doctor", "port", "web:80")
    *steps, blank, says = found.out.splitlines()
    assert blank == ""
    assert says == "web:80/tcp is reachable at port 8080 of every address of this host"
    assert all(line.startswith("✓ ") for line in steps), steps
    for part in (
        "web runs",
        "(process",
        "listens on 80/tcp at",
        "eth0 inside",
        "is up and has 172.17",
        "forwards IPv4",
    ):
        assert part in found.stdout


def test_datagrams(doctor: Doctor) -> None:
    assert "nothing inside listens on 53/udp" in doctor.says("web:53/udp")
    pid = doctor.engine.docker("inspect", "--format", "{{.State.Pid}}", "web").out
    inside = listener(doctor.engine, "nsenter", "-t", pid, "-n", address="0.0.0.0", port=53, kind="DGRAM")
    try:
        assert doctor.says("web:53/udp") == "web:53/udp is reachable at port 5353 of every address of this host"
    finally:
        inside.kill()
        inside.wait()


def test_nothing_listens(doctor: Doctor) -> None:
    assert doctor.says("web:83").startswith("web:83/tcp is not reachable: nothing inside listens on 83/tcp")
    assert "(what listens: 80/tcp, 82/tcp, 84/tcp)" in doctor.says("web:83")
    assert "nothing inside listens on 83/udp" in doctor.says("web:83/udp")
    assert not doctor.fetched("http://127.0.0.1:8083/")


def test_it_listens_on_127_0_0_1_inside(doctor: Doctor) -> None:
    assert "busybox (process " in doctor.says("web:81")
    assert "listens on 81/tcp at 127.0.0.1 only" in doctor.says("web:81")
    assert not doctor.fetched("http://127.0.0.1:8081/")


def test_it_is_not_published(doctor: Doctor) -> None:
    told = doctor.told("web:84")
    assert told["Says"].startswith("web:84/tcp is not reachable: 84/tcp is not published (what is published: ")
    assert "--publish-add 84:84/tcp web" in told["Remedy"]


def test_it_is_published_on_127_0_0_1_only(doctor: Doctor) -> None:
    assert "published on 127.0.0.1:8082 only" in doctor.says("web:82")
    assert doctor.fetched("http://127.0.0.1:8082/")
    assert not doctor.fetched(f"http://{INSIDE}:8082/")


def test_it_is_on_an_internal_network(doctor: Doctor) -> None:
    doctor.engine.docker("network", "create", "--internal", "back").ok()
    doctor.run("sealed", "--network", "back", "-p", "8090:80")
    assert "is on internal networks only (back)" in doctor.says("sealed:80")
    assert not doctor.fetched("http://127.0.0.1:8090/")


def test_it_was_disconnected(doctor: Doctor) -> None:
    doctor.run("adrift", "-p", "8093:80")
    doctor.engine.docker("network", "disconnect", "bridge", "adrift").ok()
    assert "adrift was disconnected from all its networks" in doctor.says("adrift:80")
    doctor.engine.docker("network", "connect", "bridge", "adrift").ok()
    assert "is reachable" in doctor.says("adrift:80")
    doctor.engine.docker("rm", "-f", "adrift").ok()


def test_it_does_not_run_and_the_exit_status_says_so(doctor: Doctor) -> None:
    doctor.run("lost", "--network", "none")
    what = "has no network (--network none)"
    doctor.engine.wait_until(lambda: what in doctor.says("lost:80"), "it listens")
    doctor.engine.docker("rm", "-f", "lost").ok()
    doctor.engine.docker("create", "--name", "lost", "-p", "8091:80", doctor.engine.image(), "true").ok()
    found = doctor.engine.sampan("doctor", "port", "lost:80")
    assert found.code == 1
    assert found.stdout.splitlines()[-2:] == [
        "lost:80/tcp is not reachable: lost does not run: it is created",
        "  → sampan start lost (sampan logs lost tells why it ended)",
    ]
    asked = json.loads(doctor.engine.sampan("doctor", "port", "--format", "json", "lost:80").stdout)
    assert (asked["Reachable"], asked["Steps"][-1]["Mark"]) == (False, "wrong")


def test_it_lives_in_another_ones_network_and_in_the_hosts(doctor: Doctor) -> None:
    doctor.run("guest", "--network", "container:web", listen="85")
    assert "guest:80/tcp is reachable" in doctor.says("guest:80")
    assert "85/tcp is not published" in doctor.says("guest:85")
    doctor.run("bare", "--network", "host", listen="8099")
    doctor.engine.wait_until(lambda: doctor.fetched("http://127.0.0.1:8099/"), "it listens")
    assert doctor.says("bare:8099") == (
        "bare:8099/tcp is reachable at port 8099 of this host: it is in the host's own network"
    )


def test_forwarding_is_off(doctor: Doctor) -> None:
    doctor.engine.run("sysctl", "-qw", "net.ipv4.ip_forward=0").ok()
    try:
        assert "the host does not forward IPv4" in doctor.says("web:80")
        found = doctor.engine.sampan("doctor", "-q")
        assert found.code == 1
        assert "✗ net.ipv4.ip_forward" in found.stdout
    finally:
        doctor.engine.run("sysctl", "-qw", "net.ipv4.ip_forward=1").ok()


def test_another_table_drops_what_is_forwarded(doctor: Doctor) -> None:
    nft = doctor.engine.run
    nft("nft", "table inet theirs { chain door { type filter hook forward priority 5; policy drop; }; }").ok()
    try:
        assert "chain door of the table inet theirs drops what is forwarded" in doctor.says("web:80")
        assert "chain door of the table inet theirs" in doctor.engine.sampan("doctor").stdout
    finally:
        nft("nft", "delete table inet theirs").ok()
    assert "is reachable" in doctor.says("web:80")


def test_the_firewall_has_lost_the_port(doctor: Doctor) -> None:
    """The engine puts it back by itself, and quickly: take it away again and again until it was seen missing."""
    table = f"inet sampan-{doctor.engine.instance}"
    address = doctor.engine.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").out

    def missed() -> bool:
        return "the firewall has no element for 0.0.0.0:8080/tcp" in doctor.says("web:80")

    take = f"while :; do nft 'delete element {table} anyports4 {{ tcp . 8080 }}' 2>/dev/null; done"
    thief = doctor.engine.popen("sh", "-c", take)
    try:
        doctor.engine.wait_until(missed, "a missing element is seen")
    finally:
        thief.kill()
        thief.wait()
    doctor.engine.run("nft", f"add element {table} anyports4 {{ tcp . 8080 : {address} . 80 }}").ok()
    # The shell's last nft outlives it, and may have taken it away once more.
    doctor.engine.wait_until(lambda: "is reachable" in doctor.says("web:80"), "the port is reachable again")


def test_a_program_of_the_host_stands_in_front_of_it(doctor: Doctor) -> None:
    foreign = listener(doctor.engine, address="::1", port=8082)
    try:
        said = str(doctor.told("web:82")["Steps"])
        assert f"(process {foreign.pid}) of this host listens on [::1]:8082, too" in said
        assert not doctor.fetched("http://[::1]:8082/"), "that program is what answers there"
    finally:
        foreign.kill()
        foreign.wait()
    assert "listens on [::1]:8082" not in str(doctor.told("web:82")["Steps"])


def test_its_address_on_the_host_is_gone_and_its_link_inside(doctor: Doctor) -> None:
    ip = ["ip", "address"]
    doctor.engine.run(*ip, "add", "198.51.100.7/24", "dev", "up0").ok()
    doctor.run("far", "-p", "198.51.100.7:8092:80")
    doctor.engine.run(*ip, "delete", "198.51.100.7/24", "dev", "up0").ok()
    assert "this host has no address 198.51.100.7 any more" in doctor.says("far:80")
    pid = doctor.engine.docker("inspect", "--format", "{{.State.Pid}}", "far").out
    inside = ["nsenter", "-t", pid, "-n", "ip"]
    doctor.engine.run(*inside, "link", "set", "eth0", "down").ok()
    assert "the container's link to bridge is down" in doctor.says("far:80")
    doctor.engine.run(*inside, "link", "set", "eth0", "up").ok()
    doctor.engine.run(*inside, "address", "flush", "dev", "eth0").ok()
    assert "has no address 172.17.0." in doctor.says("far:80")
    doctor.engine.run(*inside, "link", "delete", "eth0").ok()
    assert "has lost its link to bridge" in doctor.says("far:80")
    doctor.engine.docker("rm", "-f", "far").ok()


def test_bad_questions(doctor: Doctor) -> None:
    assert doctor.engine.sampan("doctor", "port", "nobody:80").code == 1
    assert doctor.engine.sampan("doctor", "port", "web").code == 1
    assert doctor.engine.api("GET", "/sampan/containers/web/doctor?port=0")[0] == 400
    status, told = doctor.engine.api("GET", "/sampan/containers/web/doctor?port=80/ftp")
    assert (status, "invalid port '80/ftp'" in told["message"]) == (400, True)


def test_a_host_on_which_nothing_is_wrong(doctor: Doctor) -> None:
    began = time.monotonic()
    found = doctor.engine.sampan("doctor", timeout=60)
    assert found.code == 0, found.stdout
    assert time.monotonic() - began < 30
    for part in ("kernel", "capabilities", "data root", "storage overlayfs", "network bridge", "networks"):
        assert any(part in line for line in found.stdout.splitlines() if line.startswith("✓")), found.stdout
    told = json.loads(doctor.engine.sampan("doctor", "--format", "json").out)
    assert told["Healthy"]


def test_a_bridge_that_is_down_is_found_by_itself(doctor: Doctor) -> None:
    doctor.engine.run("ip", "link", "set", doctor.engine.bridge, "down").ok()
    try:
        found = doctor.engine.sampan("doctor", "-q")
        assert found.code == 1
        assert "the bridge of the network bridge is down" in found.stdout
        assert "is down" in doctor.says("web:80")
    finally:
        doctor.engine.run("ip", "link", "set", doctor.engine.bridge, "up").ok()

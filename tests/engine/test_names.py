"""Names at 127.0.0.11, links, and the files under ``/etc``: as a program inside finds them, through the docker CLI."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from harness import Engine, Result
from harness.net import OUTSIDE

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

IMAGE = "names"
PROGRAMS = ("sh", "sleep", "cat", "env", "getent", "tee", "grep")
NAME_SERVER = f"""
import socket, dnslib
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("{OUTSIDE}", 53))
while True:
    message, asker = sock.recvfrom(4096)
    question = dnslib.DNSRecord.parse(message)
    reply = question.reply()
    if str(question.q.qname) in ("far.example.", "near.example.") and question.q.qtype == 1:
        reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A("198.51.100.7"), ttl=1))
    else:
        reply.header.rcode = 3
    sock.sendto(reply.pack(), asker)
"""


@pytest.fixture(scope="module")
def sea(engine: Engine) -> Iterator[Engine]:
    """An engine with the networks ``sea`` and ``lake``, and a name server on the neighbouring host."""
    engine.sampan("image", "from-host", "-t", IMAGE, *PROGRAMS).ok()
    engine.docker("network", "create", "--ipv6", "--subnet", "10.71.0.0/24", "--subnet", "fd71::/64", "sea").ok()
    engine.docker("network", "create", "--internal", "lake").ok()
    server = engine.popen("nsenter", f"--net={engine.net.outside}", "--", sys.executable, "-c", NAME_SERVER)
    yield engine
    server.kill()
    server.wait()


@pytest.fixture(autouse=True)
def empty(sea: Engine) -> Iterator[None]:
    yield
    sea.remove_containers()


def boat(engine: Engine, name: str, *options: object) -> str:
    """A container that does nothing; its id. It asks the neighbouring host for names that are not known here."""
    return engine.docker("run", "-d", "--name", name, "--dns", OUTSIDE, *options, IMAGE, "sleep", "600").out


def inside(engine: Engine, name: str, *command: object) -> Result:
    return engine.docker("exec", name, *command)


def found(engine: Engine, asker: str, name: str) -> set[str]:
    """The addresses that a program in the container ``asker`` finds, IPv4 and IPv6."""
    told = inside(engine, asker, "getent", "ahosts", name).stdout
    return {line.split()[0] for line in told.splitlines()}


def address(engine: Engine, name: str, network: str) -> str:
    form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return engine.docker("inspect", "-f", form, name).out


def etc(engine: Engine, name: str, file: str) -> list[str]:
    return inside(engine, name, "cat", f"/etc/{file}").out.splitlines()


def test_containers_find_one_another(sea: Engine) -> None:
    ident = boat(sea, "web", "--network", "sea", "--network-alias", "www", "--hostname", "surf", "--ip", "10.71.0.20")
    boat(sea, "web2", "--network", "sea", "--network-alias", "www", "--ip", "10.71.0.21")
    boat(sea, "eye", "--network", "sea", "--link", "web:front", "--dns-search", "sea")
    v6 = sea.docker("inspect", "-f", "{{.NetworkSettings.Networks.sea.GlobalIPv6Address}}", "web").out
    for name in ("web", "WEB", "web.sea", ident[:12], "surf", "front"):
        assert found(sea, "eye", name) == {"10.71.0.20", v6}
    assert {"10.71.0.20", "10.71.0.21"} < found(sea, "eye", "www")
    assert found(sea, "web2", "front") == set()
    for where in ("10.71.0.20", v6):
        assert inside(sea, "eye", "getent", "hosts", where).out.split() == [where, "web.sea"]
    assert etc(sea, "eye", "resolv.conf")[:3] == ["nameserver 127.0.0.11", "search sea", "options ndots:0"]
    assert f"{address(sea, 'eye', 'sea')}\t" in inside(sea, "eye", "cat", "/etc/hosts").stdout


def test_who_has_stopped_is_not_found_and_who_is_renamed_is(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea", "--ip", "10.71.0.20")
    boat(sea, "eye", "--network", "sea")
    sea.docker("rename", "web", "web3").ok()
    assert found(sea, "eye", "web") == set()
    assert "10.71.0.20" in found(sea, "eye", "web3")
    sea.docker("stop", "-t", "0", "web3").ok()
    assert found(sea, "eye", "web3") == set()
    sea.docker("start", "web3").ok()
    assert "10.71.0.20" in found(sea, "eye", "web3")


def test_names_are_found_again_after_the_daemon_was_killed(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea", "--network-alias", "www", "--ip", "10.71.0.20")
    boat(sea, "eye", "--network", "sea", "--link", "web:front")
    sea.kill()
    sea.start()
    sea.wait_until(lambda: "10.71.0.20" in found(sea, "eye", "web"), "the name is found again", 10)
    assert "10.71.0.20" in found(sea, "eye", "www") & found(sea, "eye", "front")
    assert found(sea, "eye", "far.example") == {"198.51.100.7"}


def test_other_names_are_asked_of_others(sea: Engine) -> None:
    boat(sea, "eye", "--network", "sea", "--dns-search", "example", "--dns-option", "timeout:1")
    assert found(sea, "eye", "far.example") == found(sea, "eye", "near") == {"198.51.100.7"}
    assert found(sea, "eye", "nobody.example") == set()
    wanted = ["nameserver 127.0.0.11", "search example", "options timeout:1 ndots:0", "", f"# ExtServers: [{OUTSIDE}]"]
    assert etc(sea, "eye", "resolv.conf") == wanted


def test_no_name_leaves_its_network(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea")
    boat(sea, "spy", "--network", "lake")
    boat(sea, "plain")
    boat(sea, "both", "--network", "lake", "--network", "sea")
    for spy in ("spy", "plain"):
        for name in ("web", "web.sea", address(sea, "web", "sea")):
            assert found(sea, spy, name) <= {name}
    assert found(sea, "spy", "far.example") == set()  # the way out is closed
    assert found(sea, "plain", "far.example") == {"198.51.100.7"}
    assert etc(sea, "plain", "resolv.conf") == [f"nameserver {OUTSIDE}"]
    assert address(sea, "web", "sea") in found(sea, "both", "web")
    assert found(sea, "both", "spy") == {address(sea, "spy", "lake")}


def test_a_container_may_serve_names_itself(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea", "--ip", "10.71.0.20")
    sandbox = sea.root / "exec" / "netns" / sea.docker("inspect", "-f", "{{.Id}}", "web").out
    bind = "import socket as s; [s.socket(s.AF_INET, k).bind(('', 53)) for k in (s.SOCK_DGRAM, s.SOCK_STREAM)]"
    sea.run("nsenter", f"--net={sandbox}", "--", sys.executable, "-c", bind).ok()
    assert "10.71.0.20" in found(sea, "web", "web")


def test_names_come_and_go_with_networks(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea", "--ip", "10.71.0.20")
    boat(sea, "late")
    boat(sea, "own")
    inside(sea, "own", "sh", "-c", "echo '# mine' >>/etc/resolv.conf; echo '10.9.9.9 mine' >>/etc/hosts").ok()
    before = etc(sea, "late", "hosts")
    for name in ("late", "own"):
        sea.docker("network", "connect", "--alias", "ferry", "--link", "web:front", "sea", name).ok()
    assert etc(sea, "late", "resolv.conf")[0] == "nameserver 127.0.0.11"
    assert "10.71.0.20" in found(sea, "late", "web") & found(sea, "late", "front")
    assert address(sea, "late", "sea") in found(sea, "web", "ferry")
    assert etc(sea, "late", "hosts")[len(before)].split()[0] == address(sea, "late", "sea")
    assert etc(sea, "own", "resolv.conf") == [f"nameserver {OUTSIDE}", "# mine"]
    for name in ("late", "own"):
        sea.docker("network", "disconnect", "sea", name).ok()
    assert etc(sea, "late", "hosts") == before
    assert "10.9.9.9 mine" in etc(sea, "own", "hosts")
    assert etc(sea, "late", "resolv.conf") == [f"nameserver {OUTSIDE}"]
    assert found(sea, "web", "ferry") == set()


def test_more_hosts(sea: Engine) -> None:
    options = ("--rm", "--add-host", "up:host-gateway", "--add-host", "db=192.0.2.77", "--hostname", "a.example.org")
    usual = sea.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge").out
    for network, gateway in (("sea", "10.71.0.1"), ("host", usual), ("none", usual), ("bridge", usual)):
        command = ("sh", "-c", "cat /etc/hosts; cat /etc/hostname")
        named = options if network != "host" else options[:-2]
        lines = sea.docker("run", *named, "--network", network, IMAGE, *command).out.splitlines()
        assert "192.0.2.77\tdb" in lines
        [up] = [line.split()[0] for line in lines if line.endswith("\tup")]
        assert up == gateway
        if network in ("sea", "bridge"):
            assert any(line.endswith("\ta.example.org a") for line in lines)


def test_a_shared_network_has_the_same_files(sea: Engine) -> None:
    boat(sea, "web", "--network", "sea", "--ip", "10.71.0.20")
    sea.docker("run", "-d", "--name", "guest", "--network", "container:web", IMAGE, "sleep", "600").ok()
    for file in ("resolv.conf", "hosts"):
        assert etc(sea, "guest", file) == etc(sea, "web", file)
    assert "10.71.0.20" in found(sea, "guest", "web")


def test_links_on_the_default_network(sea: Engine) -> None:
    db = boat(sea, "db", "--expose", "5432", "--expose", "100-101", "-e", "SECRET=x")
    boat(sea, "web", "--link", "db:base", "--link", "db")
    where = address(sea, "db", "bridge")
    assert f"{where}\tbase {db[:12]} db" in etc(sea, "web", "hosts")
    told = inside(sea, "web", "env").out.splitlines()
    for variable in (
        f"BASE_PORT=tcp://{where}:100",
        f"BASE_PORT_5432_TCP=tcp://{where}:5432",
        f"BASE_PORT_5432_TCP_ADDR={where}",
        "BASE_PORT_5432_TCP_PORT=5432",
        "BASE_PORT_5432_TCP_PROTO=tcp",
        f"BASE_PORT_100_TCP_END=tcp://{where}:101",
        "BASE_NAME=/web/base",
        "DB_ENV_SECRET=x",
    ):
        assert variable in told
    assert sea.docker("inspect", "-f", "{{.HostConfig.Links}}", "web").out == "[/db:/web/base /db:/web/db]"
    names = ["ps", "--no-trunc", "--format", "{{.Names}}", "--filter", "name=^db$"]
    assert sea.docker(*names).out == "db,web/base,web/db"
    assert sea.docker("inspect", "-f", "{{.Name}}", "web/base").out == "/db"
    assert "SECRET=x" in sea.docker("exec", "web/base", "env").out
    assert "No such container: web/nobody" in sea.docker("exec", "web/nobody", "true").stderr
    sea.docker("stop", "-t", "0", "db").ok()
    refused = sea.docker("run", "--rm", "--link", "db:x", IMAGE, "true")
    assert "Cannot link to a non running container: /db AS /" in refused.stderr
    boat(sea, "thief")
    sea.docker("start", "db").ok()
    now = address(sea, "db", "bridge")
    assert now != where
    assert f"{now}\tbase {db[:12]} db" in etc(sea, "web", "hosts")
    assert sea.docker("rm", "--link", "/web/base").out == "/web/base"
    assert [line.partition("\t")[2] for line in etc(sea, "web", "hosts") if now in line] == [f"db {db[:12]}"]
    assert sea.docker("inspect", "-f", "{{.HostConfig.Links}}", "web").out == "[/db:/web/db]"
    assert sea.docker(*names).out == "db,web/db"
    for name, words in (
        ("web/base", "No such container: web/base"),
        ("nobody/db", "No such container: nobody/db"),
        ("web", "Conflict, cannot remove the default link name of the container"),
    ):
        assert words in sea.docker("rm", "--link", name).stderr
    assert inside(sea, "web", "env").code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--link", "nobody"), "could not get container for nobody: No such container: nobody"),
        (("--network", "host", "--link", "x"), "conflicting options: host type networking can't be used with links."),
    ],
)
def test_links_that_cannot_be(sea: Engine, options: tuple[str, ...], words: str) -> None:
    refused = sea.docker("run", "--rm", *options, IMAGE, "true")
    assert (refused.code, words in refused.stderr) == (125, True)


def test_in_the_hosts_network_its_own_servers_are_asked(sea: Engine) -> None:
    command = ("run", "--rm", "--network", "host", IMAGE, "grep", "^nameserver", "/etc/resolv.conf")
    assert sea.docker(*command).stdout == sea.run("grep", "^nameserver", "/etc/resolv.conf").stdout

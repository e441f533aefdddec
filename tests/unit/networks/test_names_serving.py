"""Name servers in real network namespaces: the answers that programs inside get, and whom the server asks."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest

from sampan.drivers.types import EndpointSpec, NetworkSpec
from sampan.linux import links, mounts, netns
from sampan.linux.netlink import Netlink
from sampan.networks.names import Names, Way, desk, resolvconf, upstream
from sampan.types import Container, Endpoint, Network

pytestmark = pytest.mark.root

SHORE = Network(spec=NetworkSpec(id="n" * 64, name="shore", driver="bridge"), created="")
DEEP = Network(spec=NetworkSpec(id="d" * 64, name="deep", driver="bridge"), created="")


class Namespace:
    """A network namespace with a loopback, as a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        fd = netns.create(_up)
        mounts.mount(f"/proc/self/fd/{fd}", path, None, mounts.MS_BIND)
        os.close(fd)

    def do(self, work: Callable[[], Any]) -> Any:
        return netns.inside(self.path, work)

    def close(self) -> None:
        mounts.detach(self.path)

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False, size: int = 0, patience: float = 8.0) -> Any:
        """What a program inside is answered."""
        question = dnslib.DNSRecord.question(name, kind)
        if size:
            question.add_ar(dnslib.EDNS0(udp_len=size))
        return dnslib.DNSRecord.parse(self.send(bytes(question.pack()), tcp=tcp, patience=patience))

    def send(self, message: bytes, *, tcp: bool = False, patience: float = 8.0) -> bytes:
        def work() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience)
                sock.connect((resolvconf.SERVER, 53))
                if not tcp:
                    sock.send(message)
                    return sock.recv(65535)
                sock.sendall(len(message).to_bytes(2, "big") + message)
                with sock.makefile("rb") as file:
                    return file.read(int.from_bytes(file.read(2), "big"))

        answer = self.do(work)
        assert isinstance(answer, bytes)
        return answer


def _up() -> None:
    with Netlink() as netlink:
        netlink.run(links.change("lo"))


class Server:
    """A name server on all addresses of a namespace, port 53, UDP and TCP. It knows everybody, as ``address``."""

    def __init__(self, namespace: Namespace, address: str, place: str = "0.0.0.0") -> None:
        self.address = address
        self.asked: list[str] = []
        self.slow: list[threading.Event] = []
        self._socks = namespace.do(lambda: (_bound(place, socket.SOCK_DGRAM), _bound(place, socket.SOCK_STREAM)))
        self._socks[1].listen()
        for work in (self._datagrams, self._streams):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                message, asker = self._socks[0].recvfrom(65535)
                if not message:  # shut down
                    return
                if answer := self._answer(message, tcp=False):
                    self._socks[0].sendto(answer, asker)

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socks[1].accept()
                with sock, sock.makefile("rb") as file:
                    message = file.read(int.from_bytes(file.read(2), "big"))
                    if answer := self._answer(message, tcp=True):
                        sock.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, message: bytes, *, tcp: bool) -> bytes | None:
        try:
            question = dnslib.DNSRecord.parse(message)
        except dnslib.DNSError:
            return None
        name = str(question.q.qname).rstrip(".")
        self.asked.append(name)
        if name.startswith("silent"):
            return None
        reply = question.reply()
        if name == "fails.example":
            reply.header.rcode = dnslib.RCODE.SERVFAIL
        elif name == "big.example" and not tcp:
            reply.header.tc = 1
        else:
            for _ in range(100 if name == "big.example" else 1):
                reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A(self.address), ttl=60))
        return bytes(reply.pack())


def _bound(place: str, kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((place, 53))
    return sock


class House:
    """An engine's names, in the network namespace of a host whose own name server is on its loopback."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Namespace(root / "host")
        self.server = Server(self.host, "9.9.9.1", "127.0.0.53")
        self.sandboxes: dict[str, Namespace] = {}
        self.containers: dict[str, Container] = {}
        self.names = Names({})

    def close(self) -> None:
        self.names.close()
        self.server.close()
        for namespace in (self.host, *self.sandboxes.values()):
            namespace.close()

    def add(self, name: str, *addresses: str, network: Network = SHORE, way: Way = Way.HOST, **more: Any) -> Namespace:
        """A container on the network, with a name server."""
        ident = name.ljust(64, "0")
        container = Container(
            id=ident, name=name, created="", image="", image_reference="", layer="", path="", args=[],
            config={"Hostname": f"{name}-host"}, storage_driver="", runtime="",
            host_config={"Dns": [], "DnsOptions": [], "DnsSearch": [], **more.pop("host_config", {})},
        )  # fmt: skip
        spec = EndpointSpec(id="e", container=ident, interface="eth0", addresses=addresses)
        endpoint = Endpoint(network=network.spec.id, network_name=network.spec.name, spec=spec, **more)
        self.containers[name] = container
        namespace = self.sandboxes.setdefault(name, Namespace(self.root / name))
        self.names.enter(network, container, endpoint)
        self.host.do(lambda: self.names.serve(container, namespace.path, way=way))
        return namespace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(resolvconf, "HOSTS_OWN", tmp_path / "resolv.conf")
    monkeypatch.setattr(upstream, "TIMEOUT", 0.4)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    house = House(tmp_path)
    yield house
    house.close()


def addresses(answer: Any) -> list[str]:
    return [str(one.rdata) for one in answer.rr]


def code(answer: Any) -> str:
    return str(dnslib.RCODE[answer.header.rcode])


@pytest.mark.parametrize("tcp", [False, True])
def test_everybody_on_the_network_is_found(house: House, tcp: bool) -> None:
    web = house.add("web", "10.0.0.2/24", "fd00::2/64", aliases=["www"])
    house.add("db", "10.0.0.3/24")
    for name in ("db", "DB", "db.shore", "db0000000000", "db-host"):
        assert addresses(web.ask(name, tcp=tcp)) == ["10.0.0.3"]
    assert addresses(web.ask("www", "AAAA", tcp=tcp)) == ["fd00::2"]
    assert addresses(web.ask("3.0.0.10.in-addr.arpa", "PTR", tcp=tcp)) == ["db.shore."]
    reverse = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
    assert addresses(web.ask(reverse, "PTR", tcp=tcp)) == ["web.shore."]
    assert house.server.asked == []


@pytest.mark.parametrize("kind", ["AAAA", "MX", "TXT", "SRV", "HTTPS"])
def test_what_a_container_does_not_have_is_asked_of_nobody(house: House, kind: str) -> None:
    answer = house.add("web", "10.0.0.2/24").ask("web", kind)
    assert (code(answer), addresses(answer), house.server.asked) == ("NOERROR", [], [])


def test_one_name_for_several(house: House) -> None:
    for number in range(2, 5):
        web = house.add(f"web{number}", f"10.0.0.{number}/24", aliases=["www"])
    answers = [addresses(web.ask("www")) for _ in range(30)]
    assert {tuple(sorted(one)) for one in answers} == {("10.0.0.2", "10.0.0.3", "10.0.0.4")}
    assert len({one[0] for one in answers}) == 3


def test_what_does_not_fit_is_told_by_tcp(house: House) -> None:
    for number in range(60):
        house.names.enter(SHORE, *_member(number))
    web = house.add("web", "10.0.0.2/24")
    cut = web.ask("crowd")
    assert cut.header.tc
    assert len(addresses(cut)) < 60
    assert len(addresses(web.ask("crowd", tcp=True))) == 60
    assert len(addresses(web.ask("crowd", size=4096))) == 60


def _member(number: int) -> tuple[Container, Endpoint]:
    container = Container(
        id=f"{number:064}", name=f"m{number}", created="", image="", image_reference="", layer="", path="", args=[],
        config={}, host_config={}, storage_driver="", runtime="",
    )  # fmt: skip
    spec = EndpointSpec(id="e", container=container.id, interface="eth0", addresses=(f"10.0.1.{number}/24",))
    return container, Endpoint(network=SHORE.spec.id, network_name="shore", aliases=["crowd"], spec=spec)


def test_other_networks_stay_unknown(house: House) -> None:
    house.add("web", "10.0.0.2/24")
    spy = house.add("spy", "10.0.1.2/24", network=DEEP)
    for name in ("web", "web.shore", "2.0.0.10.in-addr.arpa"):
        assert addresses(spy.ask(name)) == ["9.9.9.1"]  # the host's server says so, which knows everybody


@pytest.mark.parametrize("tcp", [False, True])
def test_others_are_asked_from_the_host(house: House, tcp: bool) -> None:
    web = house.add("web", "10.0.0.2/24")
    assert addresses(web.ask("a.example", tcp=tcp)) == ["9.9.9.1"]
    assert house.server.asked == ["a.example"]


def test_a_truncated_answer_is_passed_on(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    assert web.ask("big.example").header.tc
    assert len(addresses(web.ask("big.example", tcp=True))) == 100


def test_the_users_own_servers_are_asked_from_the_container(house: House) -> None:
    web = house.add("web", "10.0.0.2/24", host_config={"Dns": ["127.0.0.1"]}, way=Way.NONE)
    assert code(web.ask("a.example")) == "SERVFAIL"
    own = Server(web, "9.9.9.2")  # on port 53 of all addresses of its own
    try:
        assert addresses(web.ask("a.example")) == ["9.9.9.2"]
        assert addresses(web.ask("b.example", tcp=True)) == ["9.9.9.2"]
        assert addresses(web.ask("web")) == ["10.0.0.2"]
        assert own.asked == ["a.example", "b.example"]
    finally:
        own.close()
    assert house.server.asked == []


def test_without_a_way_out_nobody_is_asked(house: House) -> None:
    web = house.add("web", "10.0.0.2/24", way=Way.NONE)
    assert code(web.ask("a.example")) == "SERVFAIL"
    assert house.server.asked == []
    house.names.serve(house.containers["web"], web.path, way=Way.HOST)
    assert addresses(web.ask("a.example")) == ["9.9.9.1"]


def test_a_network_that_filters_decides_whether_the_hosts_servers_are_asked(house: House) -> None:
    """From where the host is, they would be asked past it; and the host's loopback is nobody's to ask from inside."""
    resolvconf.HOSTS_OWN.write_text("nameserver 127.0.0.53\nnameserver 198.51.100.53\n")
    web = house.add("web", "10.0.0.2/24", way=Way.SANDBOX)
    assert code(web.ask("a.example")) == "SERVFAIL", "there is no way to it from inside"
    web.do(lambda: subprocess.run(["ip", "address", "add", "198.51.100.53/32", "dev", "lo"], check=True))
    inside = Server(web, "9.9.9.3")
    try:
        assert addresses(web.ask("b.example")) == ["9.9.9.3"]
    finally:
        inside.close()
    assert house.server.asked == []


@pytest.mark.parametrize("name", ["fails.example", "silent.example"])
def test_a_server_that_fails_gives_way_to_the_next(house: House, tmp_path: Path, name: str) -> None:
    web = house.add("web", "10.0.0.2/24")
    assert code(web.ask(name)) == "SERVFAIL"
    resolvconf.HOSTS_OWN.write_text("nameserver 127.0.0.99\nnameserver 127.0.0.53\n")
    house.names._host._looked = 0.0  # two seconds have passed
    assert addresses(web.ask("a.example")) == ["9.9.9.1"]


def test_somebody_who_waits_holds_up_nobody(house: House) -> None:
    web, db = house.add("web", "10.0.0.2/24"), house.add("db", "10.0.0.3/24")
    asked = [threading.Thread(target=web.ask, args=(f"silent{one}.example",)) for one in range(20)]
    for one in asked:
        one.start()
    began = time.monotonic()
    assert addresses(db.ask("web")) == ["10.0.0.2"]
    assert addresses(db.ask("a.example")) == ["9.9.9.1"]
    assert addresses(web.ask("b.example")) == ["9.9.9.1"]
    assert time.monotonic() - began < 0.4
    for one in asked:
        one.join(5)
        assert not one.is_alive()


def test_only_so_many_questions_wait_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "BOUND", 10)
    web, db = house.add("web", "10.0.0.2/24"), house.add("db", "10.0.0.3/24")

    def flood() -> list[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            sock.connect((resolvconf.SERVER, 53))
            for number in range(30):
                sock.send(bytes(dnslib.DNSRecord.question(f"silent{number}.example").pack()))
            assert addresses(db.ask("a.example")) == ["9.9.9.1"]
            return [code(dnslib.DNSRecord.parse(sock.recv(512))) for _ in range(30)]

    answers = web.do(flood)
    assert (answers.count("REFUSED"), answers.count("SERVFAIL")) == (20, 10)
    assert addresses(web.ask("a.example")) == ["9.9.9.1"]


def test_who_asks_too_much_rests_a_little(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "RATE", 50)
    web, db = house.add("web", "10.0.0.2/24"), house.add("db", "10.0.0.3/24")
    began = time.monotonic()
    for _ in range(70):
        web.ask("db")
    assert time.monotonic() - began > 0.2
    began = time.monotonic()
    db.ask("web")
    assert time.monotonic() - began < 0.5


def test_garbage_does_no_harm(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    good = bytes(dnslib.DNSRecord.question("web").pack())

    def pelt() -> None:
        dice = random.Random(7)  # noqa: S311
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(300):
                spoilt = bytearray(good)
                spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
                for message in (bytes(spoilt), dice.randbytes(dice.randrange(80)), b"", good[: dice.randrange(30)]):
                    sock.sendto(message, (resolvconf.SERVER, 53))
        for message in (b"", b"\0", b"\0\0" * 9, b"\xff\xffx", dice.randbytes(5000)):
            with socket.create_connection((resolvconf.SERVER, 53), 5) as stream:
                stream.sendall(message)

    web.do(pelt)
    for _ in range(20):  # datagrams get lost where so many come at once, and are sent again
        with contextlib.suppress(TimeoutError):
            assert addresses(web.ask("web", patience=0.2)) == ["10.0.0.2"]
            break
    assert addresses(web.ask("web", tcp=True)) == ["10.0.0.2"]


def test_connections_are_given_up_when_there_are_too_many(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    held = web.do(lambda: [socket.create_connection((resolvconf.SERVER, 53), 5) for _ in range(100)])
    assert addresses(web.ask("web", tcp=True)) == ["10.0.0.2"]
    for sock in held:
        sock.close()


def test_many_questions_by_one_connection(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    message = bytes(dnslib.DNSRecord.question("web").pack())
    framed = (len(message).to_bytes(2, "big") + message) * 200

    def work() -> int:
        with socket.create_connection((resolvconf.SERVER, 53), 5) as sock, sock.makefile("rb") as file:
            sock.sendall(framed)
            return sum(len(file.read(int.from_bytes(file.read(2), "big"))) > 12 for _ in range(200))

    assert web.do(work) == 200


def test_names_with_few_dots_are_left_to_the_search_domains_where_somebody_said_so(house: House) -> None:
    web = house.add("web", "10.0.0.2/24", host_config={"DnsOptions": ["ndots:2"]})
    answer = web.ask("nas")
    assert (code(answer), addresses(answer), house.server.asked) == ("NOERROR", [], [])
    assert addresses(web.ask("nas.example")) == ["9.9.9.1"]


def test_the_next_daemon_serves_on(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    old, house.names = house.names, Names({})
    for container in old._desks.values():  # as the kernel does when a daemon is killed
        container._sockets.close()
    endpoint = Endpoint(network=SHORE.spec.id, network_name="shore", spec=_member(9)[1].spec)
    house.names.enter(SHORE, house.containers["web"], endpoint)
    house.host.do(lambda: house.names.reopen([(house.containers["web"], web.path, Way.HOST)]))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            assert addresses(web.ask("web", patience=0.2)) == ["10.0.1.9"]
            break
    assert addresses(web.ask("a.example")) == ["9.9.9.1"]


def test_who_has_stopped_is_forgotten_at_once(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    house.add("db", "10.0.0.3/24")
    house.names.leave(SHORE.spec.id, house.containers["db"].id)
    house.names.stop(house.containers["db"].id)
    assert addresses(web.ask("db")) == ["9.9.9.1"]


def test_connections_of_the_sandbox_are_not_tracked(house: House) -> None:
    web = house.add("web", "10.0.0.2/24")
    assert addresses(web.ask("web", tcp=True)) == ["10.0.0.2"]
    counter = Path("/proc/sys/net/netfilter/nf_conntrack_count")

    def tracked() -> int:
        return int(counter.read_text()) if counter.exists() else 0

    assert web.do(tracked) == 0

"""Ways to a registry: TLS and whom to trust, plain HTTP where it is allowed, mirrors, proxies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.conftest import Cli
from harness import Engine
from harness.net import INSIDE
from harness.registry import Registry
from harness.wild_registry import Wild, layer

pytestmark = pytest.mark.root

USER = "captain:of the ship"
DEAD = "http://127.0.0.1:5999"
MIRROR = "http://127.0.0.1:5100"


class Behind(Engine):
    """Its daemon is told of a proxy."""

    def environment(self) -> dict[str, str]:
        proxy = {"HTTP_PROXY": "http://me:secret@127.0.0.1:5100", "NO_PROXY": f"{INSIDE}/24,other.example"}
        return {**super().environment(), **proxy}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certs.d")


@pytest.fixture(scope="module")
def engine(certificates: Path, docker_cli: str) -> Iterator[Engine]:
    hosts = {
        f"{INSIDE}:5003": {"ca_file": f"{certificates}/ca.pem"},
        f"{INSIDE}:5100": {"insecure": True},
        "198.51.100.1:5000": {"mirrors": [DEAD, MIRROR]},
        "127.0.0.1:5101": {"mirrors": [MIRROR]},
        "198.51.100.2": {"insecure": True},
    }
    with Behind(
        registries={"certificates": str(certificates), "hosts": hosts, "patience": 2, "attempts": 2}
    ) as running:
        running.image()
        yield running


@pytest.fixture(scope="module")
def secure(engine: Engine) -> Iterator[Registry]:
    with Registry(engine, host=INSIDE, port=5002, user=USER, tls=True) as registry:
        yield registry


@pytest.fixture(scope="module")
def wild(engine: Engine) -> Iterator[Wild]:
    with Wild(engine, host="0.0.0.0") as registry:
        registry.image(layer())
        yield registry


def test_tls(engine: Engine, cli: Cli, secure: Registry, certificates: Path) -> None:
    """There and back, with an authority that is found as dockerd finds it, with name and password."""
    name, directory = secure.name(f"hold/{cli.__name__}:1"), certificates / secure.address
    login = ["-u", "captain", "--password-stdin", secure.address]
    shutil.rmtree(directory, ignore_errors=True)
    unknown = cli("login", *login, stdin="of the ship").stderr
    why = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert f'Get "https://{secure.address}/v2/": {why}' in unknown
    directory.mkdir()
    shutil.copy(secure.authority, directory / "ca.crt")
    cli("login", *login, stdin="of the ship").ok()
    engine.docker("tag", "shell", name).ok()
    digest = cli("push", name).out.splitlines()[-1].split()[2]
    engine.docker("rmi", name).ok()
    assert f"Digest: {digest}" in cli("pull", name).out
    assert engine.docker("run", "--rm", name, "echo", "aboard").out == "aboard"
    engine.docker("rmi", name).ok()
    cli("logout", secure.address).ok()


def test_an_authority_of_the_configuration(engine: Engine, secure: Registry, certificates: Path) -> None:
    with Registry(engine, host=INSIDE, port=5003, tls=True) as registry:
        shutil.copy(registry.authority, certificates / "ca.pem")
        engine.docker("tag", "shell", registry.name("a:1")).ok()
        engine.docker("push", registry.name("a:1")).ok()
        shutil.copy(secure.authority, certificates / "ca.pem")
        assert "tls: failed to verify certificate" in engine.docker("push", registry.name("a:1")).stderr


def test_client_certificates_need_their_keys(engine: Engine, secure: Registry, certificates: Path) -> None:
    directory = certificates / "127.0.0.1:5999"
    directory.mkdir()
    (directory / "me.cert").write_text("")
    assert "missing key me.key for client certificate" in engine.docker("pull", "127.0.0.1:5999/a").stderr
    (directory / "me.key").write_text("")
    assert "cannot be read" in engine.docker("pull", "127.0.0.1:5999/a").stderr


def test_plain_http_only_where_it_is_allowed(engine: Engine, wild: Wild) -> None:
    engine.docker("pull", f"{INSIDE}:5100/a:1").ok()
    with Wild(engine, 5105, host="0.0.0.0"):
        refused = engine.docker("pull", f"{INSIDE}:5105/a:1").stderr
        assert "http: server gave HTTP response to HTTPS client" in refused


def test_mirrors(engine: Engine, cli: Cli, wild: Wild) -> None:
    """One that is dead is passed over; one that has not what is wanted, too; none gets our secrets, or pushes."""
    cli("pull", "198.51.100.1:5000/a:1").ok()
    assert engine.api("GET", "/distribution/198.51.100.1:5000/a:1/json")[0] == 200
    with Wild(engine, 5101, tokens=True) as behind:
        behind.image(layer(), tag="2")
        wild.asked.clear()
        cli("login", "-u", "captain", "--password-stdin", behind.address, stdin="secret").ok()
        cli("pull", behind.name("a:2")).ok()
        assert any("/manifests/2" in path for _, path, _ in wild.asked)
        assert not any("authorization" in headers for _, _, headers in wild.asked)
        wild.asked.clear()
        cli("push", behind.name("a:2")).ok()
        assert wild.asked == []
        cli("logout", behind.address).ok()
    engine.docker("rmi", "198.51.100.1:5000/a:1", behind.name("a:2")).ok()


def test_a_proxy(engine: Engine, wild: Wild) -> None:
    wild.proxied.clear()
    engine.docker("pull", "198.51.100.2/a:1").ok()
    assert "http://198.51.100.2/v2/" in wild.proxied
    assert wild.asked[-1][2]["proxy-authorization"].startswith("Basic ")
    told = engine.api("GET", "/info")[1]
    assert told["HttpProxy"] == "http://xxxxx:xxxxx@127.0.0.1:5100"
    assert told["RegistryConfig"]["IndexConfigs"]["198.51.100.1:5000"]["Mirrors"] == [DEAD, MIRROR]

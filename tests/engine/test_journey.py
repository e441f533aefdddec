"""A root file system becomes an image that travels: import, tag, push, rmi, pull, run, with the same digests, through
Debian's docker-registry, also when the daemon dies on the way.

``make test`` tries it with this machine's own programs, ``make debian`` with what debootstrap makes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.conftest import Cli
from harness import Engine
from harness.debian import Debian
from harness.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

CACHE = os.environ.get("SAMPAN_DEBIAN", "")
SOURCES = ["debian"] if CACHE else ["this machine"]
LONG = 300.0  # seconds


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


@pytest.fixture(scope="module")
def registry(engine: Engine) -> Iterator[Registry]:
    with Registry(engine) as running:
        yield running


@pytest.fixture(scope="module", params=SOURCES)
def archive(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar of a root file system."""
    if request.param == "debian":
        return bootstrapped(Path(CACHE).resolve())
    made: Path = tmp_path_factory.mktemp("root") / "root.tar"
    container = engine.docker("create", engine.image(), "true").out
    engine.docker("export", "-o", made, container).ok()
    engine.docker("rm", container).ok()
    return made


def bootstrapped(cache: Path) -> Path:
    """Made once and kept."""
    debian, archive = Debian("debian"), cache / "bookworm.tar"
    if not archive.exists():
        debian.need({"debootstrap": "debootstrap"})
        debian.run("rm", "-rf", cache / "making")
        cache.mkdir(parents=True, exist_ok=True)
        debian.bootstrap(cache / "making", [])
        debian.run("tar", "-C", cache / "making", "--numeric-owner", "-cf", cache / "making.tar", ".")
        debian.run("rm", "-rf", cache / "making")
        (cache / "making.tar").rename(archive)
    return archive


def known(engine: Engine, name: str) -> tuple[str, list[str]]:
    """Its id, and the digests that it has in registries."""
    found = json.loads(engine.docker("image", "inspect", name).out)[0]
    return found["Id"], found["RepoDigests"]


def runs(cli: Cli, name: str) -> None:
    assert (
        cli("run", "--rm", "--network", "none", name, "sh", "-c", "test -e /etc/passwd && echo aboard").out == "aboard"
    )


def forgotten(engine: Engine, name: str, ident: str) -> None:
    engine.docker("rmi", name, "afloat:1").ok()
    assert engine.docker("image", "inspect", ident).code == 1, "nothing is kept of it"


def test_there_and_back(engine: Engine, cli: Cli, registry: Registry, archive: Path) -> None:
    name = registry.name(f"{cli.__name__}/afloat:1")
    cli("import", "-c", 'CMD ["sh"]', archive, "afloat:1", timeout=LONG).ok()
    cli("tag", "afloat:1", name).ok()
    runs(cli, name)
    cli("push", name, timeout=LONG).ok()
    ident, digests = known(engine, name)
    assert [digest.partition("@")[2] for digest in digests] == [registry.manifest(f"{cli.__name__}/afloat", "1")[1]]
    forgotten(engine, name, ident)
    cli("pull", name, timeout=LONG).ok()
    assert known(engine, name) == (ident, digests)
    runs(cli, name)
    engine.docker("tag", name, "afloat:1").ok()
    forgotten(engine, name, ident)


def test_the_daemon_dies_on_the_way(engine: Engine, docker_cli: str, registry: Registry, archive: Path) -> None:
    """In the middle of the push, and of the pull."""
    name = registry.name("wrecked/afloat:1")
    engine.docker("import", "-c", 'CMD ["sh"]', archive, "afloat:1", timeout=LONG).ok()
    engine.docker("tag", "afloat:1", name).ok()
    interrupted(engine, "push", name)
    engine.docker("push", name, timeout=LONG).ok()
    ident, digests = known(engine, name)
    forgotten(engine, name, ident)
    interrupted(engine, "pull", name)
    engine.docker("pull", name, timeout=LONG).ok()
    assert known(engine, name) == (ident, digests)
    runs(engine.docker, name)
    engine.docker("tag", name, "afloat:1").ok()
    forgotten(engine, name, ident)


def interrupted(engine: Engine, verb: str, name: str) -> None:
    """The daemon is killed soon after it began; where it is then is chance."""
    client = engine.popen("docker", verb, name, stdout=-3, stderr=-3)
    time.sleep(1.0 if CACHE else 0.25)
    engine.kill()
    client.wait(30)
    engine.start()

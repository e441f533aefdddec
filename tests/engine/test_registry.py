"""Pulling and pushing through Debian's docker-registry: plain, with names and passwords, and with TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.conftest import Cli
from harness import Engine
from harness.registry import Registry

pytestmark = pytest.mark.root

USER = "captain:of the ship"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(registries={"piece": "1m", "certificates": "/etc/none"}) as running:
        yield running


@pytest.fixture(scope="module")
def plain(engine: Engine) -> Iterator[Registry]:
    with Registry(engine) as registry:
        yield registry


@pytest.fixture(scope="module")
def guarded(engine: Engine) -> Iterator[Registry]:
    with Registry(engine, port=5001, user=USER) as registry:
        yield registry


@pytest.fixture(autouse=True)
def clean(engine: Engine) -> Iterator[None]:
    engine.image()
    yield
    for image in engine.api("GET", "/images/json")[1]:
        for name in [*image["RepoTags"], *image["RepoDigests"]]:
            if name != "shell:latest":
                engine.api("DELETE", f"/images/{name}?force=true")


def identity(engine: Engine, name: str) -> str:
    return engine.docker("image", "inspect", "-f", "{{.Id}}", name).out


def pushed(engine: Engine, cli: Cli, name: str, source: str = "shell") -> str:
    """Give an image a name and push it; returns the digest that was told."""
    engine.docker("tag", source, name).ok()
    last = cli("push", name).out.splitlines()[-1]
    assert last.startswith(f"{name.rpartition(':')[2]}: digest: sha256:")
    return last.split()[2]


def lone(engine: Engine) -> str:
    """An image of two layers, of which nothing else here has the second."""
    container = engine.docker("run", "-d", "shell", "sh", "-c", "head -c 3000000 /dev/urandom >/cargo").out
    engine.docker("wait", container).ok()
    made = engine.docker("commit", "-c", "LABEL lone=yes", container, "lone:1").out
    engine.docker("rm", container).ok()
    return made


def test_a_made_up_header_is_nobodys(engine: Engine, plain: Registry) -> None:
    """aiodocker sends one because there must be one."""
    name = plain.name("made-up")
    engine.docker("tag", "shell", f"{name}:1").ok()
    header = ["-H", "X-Registry-Auth: FOOBAR", "-X", "POST"]
    told = engine.run("curl", "-s", "--unix-socket", engine.socket, *header, f"http://d/images/{name}/push?tag=1").out
    assert "digest: sha256:" in told


def test_what_is_pushed_comes_back_the_same(engine: Engine, cli: Cli, plain: Registry) -> None:
    ident, name = lone(engine), plain.name(f"{cli.__name__}/lone:1")
    digest = pushed(engine, cli, name, "lone:1")
    assert pushed(engine, cli, name, "lone:1") == digest, "the same image has the same digest each time"
    told, kept = plain.manifest(*name.partition("/")[2].split(":"))
    assert kept == digest
    assert told["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    engine.docker("rmi", "lone:1", name, f"{name.rpartition(':')[0]}@{digest}")
    assert engine.docker("image", "inspect", name).code == 1
    out = cli("pull", name).out.splitlines()
    assert [line for line in out if line.endswith("Pull complete")]
    assert f"Digest: {digest}" in out
    assert f"Status: Downloaded newer image for {name}" in out
    assert identity(engine, name) == ident
    assert engine.docker("run", "--rm", name, "sh", "-c", "wc -c </cargo").out == "3000000"
    again = cli("pull", name).out.splitlines()
    assert f"Status: Image is up to date for {name}" in again
    assert (
        engine.docker("image", "inspect", "-f", "{{.RepoDigests}}", name).out == f"[{name.rpartition(':')[0]}@{digest}]"
    )


def test_run_pulls_what_is_not_there(engine: Engine, cli: Cli, plain: Registry) -> None:
    plain_name = plain.name("demand/lone:2")
    lone(engine)
    pushed(engine, cli, plain_name, "lone:1")
    engine.docker("rmi", "-f", plain_name, "lone:1").ok()
    done = cli("run", "--rm", plain_name, "echo", "aboard")
    assert done.out == "aboard"
    assert f"Unable to find image '{plain_name}' locally" in done.stderr
    assert f"Downloaded newer image for {plain_name}" in done.stderr


def test_what_is_not_there_is_told_in_dockers_words(engine: Engine, cli: Cli, plain: Registry) -> None:
    pushed(engine, cli, plain.name("there:1"))
    missing = cli("pull", plain.name("there:nosuch"))
    assert missing.code == 1
    assert f"manifest for {plain.name('there:nosuch')} not found: manifest unknown: manifest unknown" in missing.stderr
    nowhere = cli("pull", "127.0.0.1:5999/there:1")
    assert 'Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused' in nowhere.stderr
    unheard_of = cli("push", plain.name("nosuch"))
    assert (unheard_of.code, "The push refers to" in unheard_of.stdout) == (1, True)
    assert "An image does not exist locally with the tag: 127.0.0.1:5000/nosuch" in unheard_of.stderr
    assert f"tag does not exist: {plain.name('there:2')}" in cli("push", plain.name("there:2")).stderr
    assert engine.api("POST", f"/images/create?fromImage={plain.name('there')}&tag=nosuch")[0] == 404


def test_what_was_pulled_goes_out_as_it_came(engine: Engine, cli: Cli, plain: Registry, tmp_path: Path) -> None:
    """An OCI image with zstd layers of somebody else's: not one byte of its manifest changes on the way."""
    lone(engine)
    engine.docker("save", "-o", tmp_path / "lone.tar", "lone:1").ok()
    zstd = ["--format", "oci", "--dest-compress-format", "zstd"]
    plain.copy(f"docker-archive:{tmp_path}/lone.tar", "zstd/lone:1", *zstd)
    engine.docker("rmi", "-f", "lone:1").ok()
    name, _ = plain.name("zstd/lone:1"), cli("pull", plain.name("zstd/lone:1")).ok()
    manifest, digest = plain.manifest("zstd/lone", "1")
    assert all(layer["mediaType"].endswith("tar+zstd") for layer in manifest["layers"])
    assert pushed(engine, cli, plain.name(f"again/{cli.__name__}:1"), name) == digest
    assert plain.manifest(f"again/{cli.__name__}", "1") == (manifest, digest)


def test_layers_are_mounted_from_another_repository(engine: Engine, cli: Cli, plain: Registry) -> None:
    lone(engine)
    pushed(engine, cli, plain.name(f"mount-{cli.__name__}/one:1"), "lone:1")
    engine.docker("tag", "lone:1", plain.name(f"mount-{cli.__name__}/two:1")).ok()
    out = cli("push", plain.name(f"mount-{cli.__name__}/two:1")).out
    assert out.count(f": Mounted from mount-{cli.__name__}/one\n") == 2
    sent = plain.requests("PUT", f"/v2/mount-{cli.__name__}/two/blobs/")
    assert len(sent) == 1, "nothing but the configuration was sent"
    assert not plain.requests("PATCH", f"/v2/mount-{cli.__name__}/two/")
    assert "Layer already exists" in cli("push", plain.name(f"mount-{cli.__name__}/two:1")).out


def test_large_layers_go_in_pieces(engine: Engine, docker_cli: str, plain: Registry) -> None:
    lone(engine)
    pushed(engine, engine.docker, plain.name("pieces:1"), "lone:1")
    pieces = plain.requests("PATCH", "/v2/pieces/blobs/uploads/")
    assert len(pieces) >= 3
    assert {each["http.response.status"] for each in pieces} == {202}


def test_all_tags(engine: Engine, cli: Cli, plain: Registry) -> None:
    for tag in ("a", "b", "c"):
        engine.docker("tag", "shell", plain.name(f"many:{tag}")).ok()
    out = cli("push", "--all-tags", plain.name("many")).out
    assert [line.partition(":")[0] for line in out.splitlines() if ": digest: " in line] == ["a", "b", "c"]
    engine.docker("rmi", *[plain.name(f"many:{tag}") for tag in "abc"]).ok()
    cli("pull", "--all-tags", plain.name("many")).ok()
    tags = engine.docker("images", "--format", "{{.Tag}}", plain.name("many")).out.split()
    assert sorted(tags) == ["a", "b", "c"]


def test_by_digest(engine: Engine, cli: Cli, plain: Registry) -> None:
    lone(engine)
    digest = pushed(engine, cli, plain.name("fixed:1"), "lone:1")
    name = plain.name(f"fixed@{digest}")
    engine.docker("rmi", plain.name("fixed:1"), "lone:1").ok()
    assert f"Digest: {digest}" in cli("pull", name).out
    assert engine.docker("run", "--rm", name, "echo", "aboard").out == "aboard"
    wrong = cli("pull", plain.name("fixed@sha256:" + "0" * 64))
    assert "manifest unknown" in wrong.stderr
    for dangling in ("true", "false"):  # as with dockerd: it has no tag, but a name
        found = cli("images", "--filter", f"dangling={dangling}", "--format", "{{.Repository}}", plain.name("fixed"))
        assert found.out == plain.name("fixed")
    engine.docker("tag", name, "lone:1").ok()  # a name of another repository than its digest's
    assert f"untagged: {name}" in cli("image", "prune", "-af", "--filter", "label=lone").out.lower()
    assert cli("images", "-aq", "lone:1").out == ""


def test_login(engine: Engine, cli: Cli, guarded: Registry) -> None:
    engine.docker("logout", guarded.address)
    name = guarded.name(f"hold/{cli.__name__}:1")
    engine.docker("tag", "shell", name).ok()
    refused = cli("push", name)
    assert refused.code == 1
    assert "no basic auth credentials" in refused.stderr
    denied = cli("pull", name)
    assert (
        f"pull access denied for {name.rpartition(':')[0]}, repository does not exist or may require 'docker login'"
        in denied.stderr
    )
    wrong = cli("login", "-u", "captain", "--password-stdin", guarded.address, stdin="no")
    assert wrong.code == 1
    assert "unauthorized" in wrong.stderr.lower()
    assert (
        "Login Succeeded" in cli("login", "-u", "captain", "--password-stdin", guarded.address, stdin="of the ship").out
    )
    cli("push", name).ok()
    engine.docker("rmi", name).ok()
    for each in (engine.docker, engine.sampan):  # both know what one was told
        each("pull", name).ok()
    assert "Removing login credentials" in cli("logout", guarded.address).out
    assert cli("pull", name).code == 1
    assert "captain" not in engine.log
    assert "of the ship" not in engine.log


def test_search(engine: Engine, cli: Cli, plain: Registry) -> None:
    """This registry has no search, but a list of all that it has."""
    pushed(engine, cli, plain.name("found/in/search:1"))
    found = cli("search", "--format", "{{.Name}}", plain.name("in/search"))
    assert "found/in/search" in found.out.split()
    assert cli("search", plain.name("nosuch")).out.splitlines()[1:] == []
    assert "outside the range" in cli("search", "--limit", "1000", plain.name("x")).stderr


def test_what_a_registry_has_under_a_name(engine: Engine, docker_cli: str, plain: Registry) -> None:
    digest = pushed(engine, engine.docker, plain.name("told:1"))
    status, told = engine.api("GET", f"/distribution/{plain.name('told:1')}/json")
    assert status == 200
    assert told["Descriptor"]["digest"] == digest
    architecture = engine.docker("version", "-f", "{{.Server.Arch}}").out
    assert told["Platforms"] == [{"architecture": architecture, "os": "linux"}]
    assert engine.api("GET", f"/distribution/{plain.name('told:no')}/json")[0] == 404
    shown = json.loads(engine.docker("manifest", "inspect", "--insecure", plain.name("told:1")).out)
    assert shown["layers"][0]["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_events(engine: Engine, docker_cli: str, plain: Registry) -> None:
    name = plain.name("news:1")
    pushed(engine, engine.docker, name)
    engine.docker("pull", name).ok()
    told = [each for each in engine.events("type=image") if each.get("id") == name]
    assert [each["Action"] for each in told] == ["push", "pull"]
    assert {each["Actor"]["Attributes"]["name"] for each in told} == {plain.name("news")}


def test_events_of_a_life(engine: Engine, docker_cli: str, plain: Registry) -> None:
    """As dockerd tells it: a new name is told of, and digests that go with a name are not."""
    ident = engine.docker("import", "-", "life:1", stdin=bytes(1024)).out
    pushed(engine, engine.docker, plain.name("life:1"), "life:1")
    engine.docker("save", "life:1").ok()
    container = engine.docker("create", "life:1", "x").out
    engine.docker("commit", container, "life:2").ok()
    engine.docker("rm", container).ok()
    engine.docker("rmi", plain.name("life:1"), "life:1", "life:2").ok()
    told = [each["Action"] for each in engine.events("type=image") if each["Actor"]["ID"] == ident]
    assert told == ["import", "tag", "tag", "save", "untag", "untag", "delete"]
    [commit] = engine.events("event=commit", f"container={container}")
    assert commit["Actor"]["Attributes"]["imageRef"] == "life:2"

"""What is asked of registries beside content: search, secrets from helpers, platforms, tags; by both clients."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from engine.conftest import Cli
from harness import Engine
from harness.wild_registry import OCI, Wild, layer

pytestmark = pytest.mark.root

SAMPAN = [sys.executable, "-m", "sampan.cli"]
SHIPS = [
    {"name": "ship", "description": "a ship\x1b[2J" + " of the line" * 10, "star_count": 12, "is_official": True},
    {"name": "me/ship", "description": None, "star_count": 3, "is_official": False, "is_automated": True},
    {"name": "you/ship", "star_count": 0, "is_official": False},
]


@pytest.fixture(scope="module")
def engine(docker_cli: str) -> Iterator[Engine]:
    with Engine(registries={"patience": 2, "attempts": 2}) as running:
        yield running


def test_search(cli: Cli, registry: Wild) -> None:
    registry.on("GET /v1/search", lambda request: request.json(200, {"num_results": 3, "results": SHIPS}))
    shown = ["--format", "{{.Name}}|{{.StarCount}}|{{.IsOfficial}}"]
    everyone = ["ship|12|[OK]", "me/ship|3|", "you/ship|0|"]
    for words, found in {
        (): everyone,
        ("--limit", "2"): everyone[:2],
        ("--filter", "stars=3"): everyone[:2],
        ("--filter", "stars=13"): [],
        ("--filter", "is-official=true"): everyone[:1],
        ("--filter", "is-official=false"): everyone[1:],
        ("--filter", "is-official=false", "--filter", "stars=1"): everyone[1:2],
    }.items():
        assert cli("search", *words, *shown, registry.name("a ship")).out.splitlines() == found, words
    asked = [path for _, path, _ in registry.asked if path.startswith("/v1/search")]
    assert asked[:2] == ["/v1/search?q=a+ship&n=25", "/v1/search?q=a+ship&n=2"]
    table = cli("search", registry.name("ship")).out
    assert table.splitlines()[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert "\x1b" not in table
    assert "of the line of the line of the line of the line" not in table
    assert "of the line" * 2 in cli("search", "--no-trunc", registry.name("ship")).out.replace(" of the", "of the")


def test_a_search_that_cannot_be(cli: Cli, registry: Wild) -> None:
    registry.on("GET /v1/search", lambda request: request.answer(404))
    registry.on("GET /v2/_catalog", lambda request: request.error(404, "NOT_FOUND", "no list here"))
    for words, sentence in {
        (): "cannot be searched: not found: no list here",
        ("--filter", "stars=many"): "invalid filter 'stars=many'",
        ("--filter", "size=3"): "invalid filter 'size'",
        ("--limit", "101"): "limit 101 is outside the range of [1, 100]",
    }.items():
        done = cli("search", *words, registry.name("ship"))
        assert done.code == 1
        [line] = done.stderr.strip().splitlines()
        assert sentence in line


def test_a_helper_for_one_registry(engine: Engine, registry: Wild) -> None:
    """``credHelpers``: the one of this registry is asked, and nobody else."""
    helper, asked = engine.root / "docker-credential-one", engine.root / "asked"
    helper.write_text(
        f'#!/bin/sh\nread server; echo "$1 $server" >>{asked}\n'
        'printf \'{"ServerURL":"%s","Username":"captain","Secret":"secret"}\' "$server"\n'
    )
    helper.chmod(0o755)
    (engine.root / "docker").mkdir(exist_ok=True)
    config = engine.root / "docker" / "config.json"
    path = f"PATH={engine.root}:{engine.environment()['PATH']}"
    registry.image(layer())
    with Wild(engine, 5104, tokens=True) as guarded:
        config.write_text(json.dumps({"credHelpers": {guarded.address: "one"}}))
        engine.docker("pull", "-q", registry.name("a:1")).ok()
        engine.docker("tag", registry.name("a:1"), guarded.name("a:1")).ok()
        for client in (["docker"], SAMPAN):
            engine.run("env", path, *client, "push", "-q", guarded.name("a:1")).ok()
    assert set(asked.read_text().splitlines()) == {f"get {guarded.address}"}
    config.write_text(json.dumps({"credsStore": "nowhere"}))
    engine.docker("pull", "-q", registry.name("a:1")).ok()
    done = engine.sampan("pull", "-q", registry.name("a:1")).ok()
    assert done.stderr.startswith('WARNING: error getting credentials: "docker-credential-nowhere"')
    config.unlink()


def test_platforms(engine: Engine, cli: Cli, registry: Wild) -> None:
    """One of an index is pulled for another platform, and is what it is for whoever asks."""
    entries = []
    for arch, variant in (("amd64", ""), ("arm64", ""), ("arm", "v6"), ("arm", "v7")):
        manifest = registry.image(layer(arch + variant), architecture=arch, variant=variant)
        platform = {"os": "linux", "architecture": arch, **({"variant": variant} if variant else {})}
        entries.append({**registry.put(manifest, "own"), "platform": platform})
    registry.put({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}, "1")
    name = registry.name("a:1")

    def here() -> str:
        told = engine.api("GET", f"/images/{name}/json")[1]
        return "/".join(filter(None, (told["Os"], told["Architecture"], told.get("Variant"))))

    for words, found in {"linux/arm/v6": "linux/arm/v6", "arm64": "linux/arm64", "": "linux/amd64"}.items():
        cli("pull", "-q", *(["--platform", words] if words else []), name).ok()
        assert here() == found
    other = ["--platform", "linux/arm/v7"]
    assert cli("create", "--pull=never", *other, name, "/x").stderr.count("(linux/amd64) does not match") == 1
    made = cli("create", *other, name, "/x")
    assert "Unable to find image" in made.stderr
    assert here() == "linux/arm/v7"
    assert cli("rm", made.out).code == 0
    assert "is an invalid platform" in cli("pull", "--platform", "linux/a b", name).stderr
    assert "unknown operating system or architecture" in cli("pull", "--platform", "pdp11", name).stderr
    assert (
        "does not match the specified platform (linux/s390x)" in cli("save", "--platform", "linux/s390x", name).stderr
    )


def test_every_tag(cli: Cli, registry: Wild) -> None:
    registry.image(layer(), tag="1")
    registry.image(layer(), tag="2")
    registry.on("GET .*/tags/list", lambda request: request.json(200, {"name": "a", "tags": ["1", "2"]}))
    out = cli("pull", "-a", registry.name("a")).out.splitlines()
    assert [line for line in out if "Pulling from" in line] == ["1: Pulling from a", "2: Pulling from a"]
    assert len([line for line in out if line.startswith("Digest: ")]) == 2
    assert [line for line in out if line.startswith("Status: ")] == [
        f"Status: Downloaded newer image for {registry.name('a')}"
    ]
    assert "up to date" in cli("pull", "-a", registry.name("a")).out

"""Lists of images, what is told of one, platforms, and names that go: as docker's CLI and ours ask."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from engine.conftest import Cli
from harness import Engine

pytestmark = pytest.mark.root

OTHER = {"os": "linux", "architecture": "s390x"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        running.image()
        yield running


@pytest.fixture
def made(engine: Engine) -> Iterator[str]:
    """An image on the shell's layers, with a label, by an own name."""
    name = f"made-{uuid.uuid4().hex[:8]}:1"
    container = engine.docker("run", "-d", "shell", "sh", "-c", "head -c 100000 /dev/zero >/made").out
    engine.docker("wait", container).ok()
    engine.docker("commit", "-c", "LABEL crew=seven", container, name).ok()
    engine.docker("rm", container).ok()
    yield name
    engine.docker("rmi", "-f", name)


def names(engine: Engine, cli: Cli, *words: str) -> set[str]:
    return set(cli("images", "--format", "{{.Repository}}:{{.Tag}}", *words).out.split())


def test_filters(engine: Engine, cli: Cli, made: str) -> None:
    assert names(engine, cli) == {"shell:latest", made}
    for words, found in {
        "label=crew": {made},
        "label=crew=seven": {made},
        "label=crew=six": set(),
        "since=shell": {made},
        f"before={made}": {"shell:latest"},
        "until=2030-01-01T00:00:00Z": {"shell:latest", made},
        "reference=made-*": {made},
        "reference=*:1": {made},
        "dangling=true": set(),
        "dangling=false": {"shell:latest", made},
    }.items():
        assert names(engine, cli, "--filter", words) == found, words
    assert cli("images", "--filter", "nonsense=1").code == 1
    ident = cli("images", "-q", "--no-trunc", made).out
    assert ident.startswith("sha256:")
    assert ident[7:19] == cli("images", "-q", made).out


def test_a_name_that_goes_to_another_leaves_a_dangling_image(engine: Engine, cli: Cli, made: str) -> None:
    before = cli("images", "-q", "--no-trunc", made).out
    container = engine.docker("create", "shell", "true").out
    engine.docker("commit", container, made).ok()
    engine.docker("rm", container).ok()
    assert cli("images", "-q", "--no-trunc", "--filter", "dangling=true").out == before
    assert f"Deleted: {before}".lower() in cli("image", "prune", "-f").out.lower()
    assert cli("images", "-q", "--filter", "dangling=true").out == ""


def test_steps_on_the_way_to_an_image_are_hidden(engine: Engine, cli: Cli, made: str) -> None:
    """What has no name, but something that stands on it, does not dangle: it is neither shown nor pruned."""
    step = engine.docker("images", "-q", "--no-trunc", made).out
    container = engine.docker("create", made, "true").out
    engine.docker("commit", container, "top:1").ok()
    engine.docker("rm", container).ok()
    assert (
        engine.api("GET", "/images/top:1/json")[1]["RootFS"] == engine.api("GET", f"/images/{step}/json")[1]["RootFS"]
    )
    [newest, *_] = engine.api("GET", "/images/top:1/history")[1]
    assert (newest["Size"], newest["CreatedBy"]) == (0, "true"), "nothing was changed, so there is no layer"
    assert cli("rmi", made).out == f"Untagged: {made}"
    assert names(engine, cli) == {"shell:latest", "top:1"}
    assert names(engine, cli, "-a") == {"shell:latest", "top:1", "<none>:<none>"}
    assert cli("images", "-aq", "--filter", "dangling=true").out == ""
    assert "Deleted" not in cli("image", "prune", "-f").out
    assert f"Deleted: {step}" in cli("rmi", "top:1").out, "it goes with the last that stands on it"


def test_patterns_and_moments_that_are_none(engine: Engine, cli: Cli, made: str) -> None:
    assert [one["RepoTags"] for one in engine.api("GET", f"/v1.40/images/json?filter={made}")[1]] == [[made]]
    assert "'scratch' is a reserved name" in cli("pull", "scratch").stderr
    assert names(engine, cli, "--filter", "reference=m[a-c]de-*") == {made}
    assert "syntax error in pattern" in cli("images", "--filter", "reference=[").stderr
    assert cli("image", "prune", "-af", "--filter", "until=soon").stderr.count("\n") == 1
    assert made in names(engine, cli)
    for words in ("until=1h", "label=six", "label!=crew"):
        assert "Deleted" not in cli("image", "prune", "-af", "--filter", words, "--filter", "label=crew").out
    assert "Deleted" in cli("image", "prune", "-af", "--filter", "label=crew=seven").out


def test_prune_leaves_an_image_in_use_the_names_that_it_is_used_by(engine: Engine, cli: Cli, made: str) -> None:
    others = [f"{made.partition(':')[0]}:{tag}" for tag in ("a", "b", "c")]
    prune = ["image", "prune", "-af", "--filter", "label=crew=seven"]
    ident = engine.docker("images", "-q", made).out
    for used, kept in ((made, made), (others[0], others[0]), (ident, others[2])):
        for name in (made, *others):
            engine.docker("tag", ident, name).ok()
        container = engine.docker("create", used, "true").out
        assert "deleted: " not in cli(*prune).out.lower()
        assert names(engine, cli) == {"shell:latest", kept}
        engine.docker("rm", container).ok()
    assert f"deleted: sha256:{ident}" in cli(*prune).out.lower()


def test_prune_takes_the_names_of_what_others_stand_on(engine: Engine, cli: Cli, made: str) -> None:
    container = engine.docker("create", made, "true").out
    engine.docker("commit", "-c", "LABEL crew=eight", container, "top:1").ok()
    engine.docker("rm", container).ok()
    assert f"untagged: {made}" in cli("image", "prune", "-af", "--filter", "label=crew=seven").out.lower()
    assert names(engine, cli, "-a") == {"shell:latest", "top:1", "<none>:<none>"}
    cli("rmi", "top:1").ok()
    assert names(engine, cli, "-a") == {"shell:latest"}


def test_sizes_shared_and_unique(engine: Engine, made: str) -> None:
    listed = {name: one for one in engine.api("GET", "/images/json?shared-size=1")[1] for name in one["RepoTags"]}
    base, top = listed["shell:latest"], listed[made]
    assert base["SharedSize"] == base["Size"] == top["SharedSize"]
    assert 100_000 <= top["Size"] - top["SharedSize"] < 110_000
    told = json.loads(engine.docker("system", "df", "-v", "--format", "{{json .Images}}").out)
    [row] = [each for each in told if each["Repository"] == made.partition(":")[0]]
    assert row["UniqueSize"].endswith("kB")
    lines = engine.sampan("system", "df", "-v").out.splitlines()
    [line] = [line for line in lines if line.startswith(made.partition(":")[0])]
    assert {row["SharedSize"], row["UniqueSize"]} <= set(line.split())
    assert engine.api("GET", "/images/json")[1][0]["SharedSize"] == -1


def test_manifests_for_who_asks(engine: Engine, docker_cli: str, made: str) -> None:
    [one] = [each for each in engine.api("GET", "/v1.47/images/json?manifests=1")[1] if made in each["RepoTags"]]
    [manifest] = one["Manifests"]
    assert manifest["Kind"] == "image"
    assert manifest["Descriptor"]["digest"] == one["Descriptor"]["digest"]
    assert manifest["Size"]["Total"] == manifest["Size"]["Content"] + one["Size"]
    assert "Manifests" not in engine.api("GET", "/v1.46/images/json?manifests=1")[1][0]
    told = engine.api("GET", f"/v1.48/images/{made}/json?manifests=1")[1]
    assert told["Descriptor"] == one["Descriptor"]
    assert made.partition(":")[0] in engine.docker("images", "--tree").out


def test_everything_about_one(engine: Engine, made: str) -> None:
    told = engine.api("GET", f"/images/{made}/json")[1]
    base = engine.api("GET", "/images/shell/json")[1]
    assert told["RootFS"] == {"Type": "layers", "Layers": [*base["RootFS"]["Layers"], told["RootFS"]["Layers"][-1]]}
    assert told["Metadata"]["LastTagTime"] > told["Created"]
    assert (told["Os"], told["RepoTags"], told["RepoDigests"]) == ("linux", [made], [])
    assert told["Config"]["Labels"] == {"crew": "seven"}
    steps = engine.api("GET", f"/images/{made}/history")[1]
    assert [step["Id"] for step in steps] == [told["Id"], base["Id"]]
    assert [step["Tags"] for step in steps] == [[made], ["shell:latest"]]


@pytest.mark.parametrize("path", ["/images/{}/json", "/images/{}/history", "/images/{}/get"])
def test_other_platforms(engine: Engine, made: str, path: str) -> None:
    status, told = engine.api("GET", f"{path.format(made)}?platform={json.dumps(OTHER).replace(' ', '')}")
    assert status == 404
    assert "does not match the specified platform (linux/s390x)" in told["message"]
    assert engine.api("GET", f'{path.format(made)}?platform={{"os":"linux","architecture":"amd64"}}')[0] == 200


def test_platforms_through_both_clients(engine: Engine, cli: Cli, made: str) -> None:
    file, other = f"{engine.root}/x.tar", ("--platform", "linux/s390x")
    assert "does not match the specified platform" in cli("save", *other, "-o", file, made).stderr
    cli("save", "--platform", "linux/amd64", "-o", file, made).ok()
    assert "are not kept here" in cli("load", *other, "-i", file).stderr
    cli("load", "--platform", "linux/amd64", "-i", file).ok()
    assert cli("history", "--platform", "linux/amd64", made).code == 0
    assert "does not match the specified platform" in cli("history", *other, made).stderr


def test_what_stands_in_the_way_of_removal(engine: Engine, cli: Cli, made: str) -> None:
    ident = cli("images", "-q", made).out
    engine.docker("tag", made, "again/and:2").ok()
    assert "must be forced) - image is referenced in multiple repositories" in cli("rmi", ident).stderr
    assert cli("rmi", "again/and:2").out == "Untagged: again/and:2"
    running = engine.docker("run", "-d", made, "sleep", "1000").out
    assert (
        f"(cannot be forced) - image is being used by running container {running[:12]}"
        in cli("rmi", "-f", ident).stderr
    )
    assert f"(must force) - container {running[:12]} is using" in cli("rmi", made).stderr
    engine.docker("kill", running).ok()
    assert f"(must be forced) - image is being used by stopped container {running[:12]}" in cli("rmi", ident).stderr
    engine.docker("rm", running).ok()
    assert "No such image: nobody:latest" in cli("rmi", "nobody").stderr
    assert "invalid reference format" in cli("tag", made, "UPPER").stderr

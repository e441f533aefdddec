"""Registries that stall, lie, break off or are no registries: one sentence, nothing half-visible, a retry works."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Engine, Result
from harness.wild_registry import OCI, Request, Wild, digest_of, layer

pytestmark = pytest.mark.root

PATIENCE = 1.0
SAMPAN = [sys.executable, "-m", "sampan.cli"]
SIZE = 3_000_000
BUFFER = 1 << 18  # bytes that were on their way when a connection broke may come again
TURNS = itertools.cycle([True, False, False, True])
BLOB = "GET /v2/a/blobs/"


@pytest.fixture(scope="module")
def engine(docker_cli: str) -> Iterator[Engine]:
    with Engine(registries={"patience": PATIENCE, "attempts": 2, "piece": "1m"}) as running:
        yield running


def pull(engine: Engine, registry: Wild, *words: str) -> Result:
    """By whichever client's turn it is."""
    return (engine.docker if next(TURNS) else engine.sampan)("pull", *words, registry.name("a:1"))


def refused(engine: Engine, registry: Wild, sentence: str, *words: str) -> None:
    """The pull fails with one sentence that has this in it, and nothing can be seen of it."""
    done = pull(engine, registry, *words)
    assert done.code == 1, done
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1, "one sentence"
    assert engine.api("GET", "/images/json?all=1")[1] == []
    blobs = list((engine.data / "content" / "blobs" / "sha256").iterdir())
    assert blobs == [], "nothing is left in the content store"


def works(engine: Engine, registry: Wild) -> None:
    assert "Downloaded newer image" in pull(engine, registry).out


def once(handler: Callable[[Request], object]) -> Callable[[Request], bool]:
    """Of several requests, only the first gets this."""
    done: list[int] = []

    def handle(request: Request) -> bool:
        if done:
            return False
        done.append(1)
        handler(request)
        return True

    return handle


def broken_off(after: int) -> Callable[[Request], None]:
    return lambda request: request.blob_until(after, request.hang_up)


# ── connections ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_broken_off_goes_on_where_it_was(engine: Engine, registry: Wild) -> None:
    """More often than there are attempts: whoever gets further is not given up."""
    blob = registry.image(layer(size=SIZE))["layers"][0]
    registry.on(BLOB + blob["digest"], broken_off(700_000))
    works(engine, registry)
    assert registry.served[blob["digest"]] < blob["size"] + 4 * BUFFER, "it did not begin anew"


def test_one_that_hangs_up_at_once(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    registry.on(BLOB + blob["digest"], lambda request: request.hang_up())
    refused(engine, registry, "closed the connection half-way")
    registry.behave()
    works(engine, registry)


def test_one_that_falls_silent_is_asked_again(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    silent = once(lambda request: request.blob_until(100_000, lambda: time.sleep(4 * PATIENCE)))
    registry.on(BLOB + blob["digest"], silent)
    works(engine, registry)
    assert registry.served[blob["digest"]] <= blob["size"] + BUFFER, "it did not begin anew"


def test_one_that_is_silent_for_good(engine: Engine, registry: Wild) -> None:
    registry.image(layer())
    registry.on("GET .*/manifests/", lambda request: time.sleep(4 * PATIENCE))
    refused(engine, registry, f"{registry.address} has been silent for 1 seconds")
    registry.behave()
    works(engine, registry)


def test_one_that_sends_a_byte_now_and_then(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]

    def trickle(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(blob["size"]))
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x")
            time.sleep(0.05)

    registry.on(BLOB + blob["digest"], trickle)
    refused(engine, registry, "sends less than 1024 bytes a second")
    registry.behave()
    works(engine, registry)


def test_one_that_does_not_know_how_to_go_on(engine: Engine, registry: Wild) -> None:
    """It sends all of it again, with the status 200."""
    blob = registry.image(layer(size=SIZE))["layers"][0]
    registry.on(BLOB + blob["digest"], lambda request: request.answer(200, registry.blobs[blob["digest"]]))
    registry.on(BLOB + blob["digest"], once(broken_off(1_000_000)))
    works(engine, registry)


# ── statuses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_busy_ones_are_asked_again_when_they_said(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer())["layers"][0]
    registry.on(BLOB + blob["digest"], once(lambda r: r.error(429, "TOOMANYREQUESTS", "slow down", Retry_After="1")))
    registry.on("GET .*/manifests/1", once(lambda request: request.error(503, "UNAVAILABLE")))
    began = time.monotonic()
    works(engine, registry)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (429, {}, "toomanyrequests"),
        (429, {"Retry_After": "100000"}, "toomanyrequests"),
        (500, {}, "the registry answered with the status 500"),
        (418, {}, "the registry answered with the status 418"),
    ],
)
def test_statuses(engine: Engine, registry: Wild, status: int, headers: dict[str, str], sentence: str) -> None:
    registry.image(layer())
    registry.on("GET .*/manifests/", lambda request: request.answer(status, b"<html>\x1b[2J</html>", **headers))
    refused(engine, registry, sentence)
    registry.behave()
    works(engine, registry)


def test_redirects_in_circles(engine: Engine, registry: Wild) -> None:
    registry.image(layer())
    registry.on("GET .*/manifests/", lambda request: request.answer(307, Location=request.path + "x"))
    refused(engine, registry, "stopped after 10 redirects")


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[::1", "http://u:p@127.0.0.1:5100/"]
)
def test_redirects_to_nowhere(engine: Engine, registry: Wild, location: str) -> None:
    blob = registry.image(layer())["layers"][0]
    registry.on(BLOB + blob["digest"], lambda request: request.answer(307, Location=location))
    refused(engine, registry, "leads to")


def test_a_redirect_takes_no_secrets_elsewhere(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer())["layers"][0]
    with Wild(engine, 5101) as other, Wild(engine, 5102, tokens=True) as registry2:
        registry2.blobs, registry2.manifests = registry.blobs, registry.manifests
        other.blobs = registry.blobs
        elsewhere = f"http://{other.address}/v2/a/blobs/{blob['digest']}"
        registry2.on(BLOB + blob["digest"], lambda request: request.answer(307, Location=elsewhere))
        works(engine, registry2)
        [(_, _, headers)] = other.asked
        assert "authorization" not in headers
        assert any("authorization" in each for _, _, each in registry2.asked)


# ── lies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_blob_that_is_another(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    right = registry.blobs[blob["digest"]]
    registry.blobs[blob["digest"]] = bytes([right[0] ^ 1]) + right[1:]
    refused(engine, registry, f"filesystem layer verification failed for digest {blob['digest']}")
    registry.blobs[blob["digest"]] = right
    works(engine, registry)


def test_bad_bytes_of_an_earlier_time_are_not_held_against_it(engine: Engine, registry: Wild) -> None:
    """The beginning of the blob lies here from an earlier pull, and has gone bad: it is fetched anew."""
    blob = registry.image(layer(size=SIZE))["layers"][0]
    partial = engine.data / "content" / "partial" / blob["digest"].removeprefix("sha256:")
    partial.write_bytes(b"bad" * 1000)
    works(engine, registry)
    assert not partial.exists()


@pytest.mark.parametrize("more", [1, -1, 1 << 40])
def test_a_length_that_is_another(engine: Engine, registry: Wild, more: int) -> None:
    manifest = registry.image(layer(size=SIZE))
    blob = manifest["layers"][0]
    size = str(blob["size"] + more)
    registry.on(BLOB + blob["digest"], lambda r: r.answer(200, registry.blobs[blob["digest"]], Content_Length=size))
    refused(engine, registry, f"has {size} bytes, but {blob['size']} were announced")


def test_more_than_was_announced(engine: Engine, registry: Wild) -> None:
    """In chunks, without a length; it is not read on for ever."""
    manifest = registry.image(layer())
    blob = manifest["layers"][0]
    sent = 0

    def endless(request: Request) -> None:
        nonlocal sent
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for _ in range(2000):
            request.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            sent += 65536

    registry.on(BLOB + blob["digest"], endless)
    refused(engine, registry, f"has more than the {blob['size']} bytes that were announced")
    assert sent < 32 << 20


def test_an_endless_manifest(engine: Engine, registry: Wild) -> None:
    registry.on("GET .*/manifests/", lambda request: request.answer(200, b" " * (5 << 20)))
    refused(engine, registry, "has more than 4194304 bytes")


def test_a_bomb_behind_an_encoding(engine: Engine, registry: Wild) -> None:
    bomb = gzip.compress(bytes(20 << 20))
    registry.on("GET .*/manifests/", lambda request: request.answer(200, bomb, Content_Encoding="gzip"))
    refused(engine, registry, "answers in the encoding 'gzip', which nobody asked for")


def test_a_manifest_with_another_digest(engine: Engine, registry: Wild) -> None:
    registry.image(layer())
    kind, data = registry.manifests["1"]
    lie = "sha256:" + "0" * 64
    registry.on("GET .*/manifests/1", lambda r: r.answer(200, data, Content_Type=kind, Docker_Content_Digest=lie))
    refused(engine, registry, f"manifest verification failed for digest {lie}")


def test_a_layer_that_is_not_what_the_configuration_says(engine: Engine, registry: Wild) -> None:
    registry.image(layer(), rootfs={"type": "layers", "diff_ids": ["sha256:" + "1" * 64]})
    refused(engine, registry, "a layer does not match its image")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>it works!</html>", b"[]", b'{"schemaVersion":2}', b"\xff\xfe", b'{"schemaVersion":' + b"[" * 100_000],
)
def test_what_is_no_manifest(engine: Engine, registry: Wild, body: bytes) -> None:
    kind = OCI + "manifest.v1+json"
    registry.on("GET .*/manifests/", lambda request: request.answer(200, body, Content_Type=kind))
    refused(engine, registry, "the manifest of")


def test_what_speaks_no_http(engine: Engine, registry: Wild) -> None:
    def talk(request: Request) -> None:
        request.wfile.write(b"220 mail.example ESMTP\r\n")
        request.hang_up()

    registry.on("GET", talk)
    assert pull(engine, registry).code == 1


# ── what cannot be pulled ──────────────────────────────────────────────────────────────────────────────────────────


def change(registry: Wild, **changes: Any) -> None:
    registry.put({**registry.image(layer()), **changes})


def test_schema_1(engine: Engine, registry: Wild) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.put({"schemaVersion": 1, "name": "a", "fsLayers": []}, kind=kind)
    refused(engine, registry, "schema 1, a format of before 2017 that is not supported any more")


def test_artifacts(engine: Engine, registry: Wild) -> None:
    change(registry, config=registry.blob(b"{}", "application/vnd.oci.empty.v1+json"), artifactType="text/chart")
    refused(engine, registry, 'is no image: it is an artifact of the type "text/chart"')


def test_foreign_layers(engine: Engine, registry: Wild) -> None:
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    change(registry, layers=[{**registry.blob(layer(), kind), "urls": ["http://127.0.0.1/"]}])
    refused(engine, registry, "is a foreign one")


def test_layers_of_an_unknown_type(engine: Engine, registry: Wild) -> None:
    change(registry, layers=[registry.blob(layer(), OCI + "layer.v1.tar+brotli")])
    refused(engine, registry, 'has the unknown type "application/vnd.oci.image.layer.v1.tar+brotli"')


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha512:" + "0" * 128, "sha256:" + "A" * 64, ""])
def test_digests_that_are_none(engine: Engine, registry: Wild, digest: str) -> None:
    change(registry, layers=[{"mediaType": OCI + "layer.v1.tar", "digest": digest, "size": 3}])
    refused(engine, registry, "is not a digest this engine can check")


@pytest.mark.parametrize("size", [-1, 1 << 60, "3", 1 << 49])
def test_sizes_that_are_none(engine: Engine, registry: Wild, size: object) -> None:
    change(registry, layers=[{"mediaType": OCI + "layer.v1.tar", "digest": "sha256:" + "0" * 64, "size": size}])
    refused(engine, registry, "no space is left for blob" if size == 1 << 49 else "is not as it should be")


# ── platforms ──────────────────────────────────────────────────────────────────────────────────────────────────────


def index(registry: Wild, *platforms: str) -> None:
    entries = []
    for text in platforms:
        system, arch, *variant = text.split("/")
        platform = {"os": system, "architecture": arch, **({"variant": variant[0]} if variant else {})}
        registry.image(layer("name", content=text.encode()), architecture=arch, tag="of-index")
        kind, data = registry.manifests["of-index"]
        entries.append({"mediaType": kind, "digest": digest_of(data), "size": len(data), "platform": platform})
    registry.put({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries})


ALL = ("unknown/unknown", "windows/amd64", "linux/386", "linux/amd64/v3", "linux/amd64", "linux/arm/v6", "linux/arm/v7")


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v4", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("386", "linux/386"),
    ],
)
def test_the_right_one_of_an_index(engine: Engine, registry: Wild, wanted: str, given: str) -> None:
    index(registry, *ALL)
    assert pull(engine, registry, "--platform", wanted).code == 0
    archive = engine.run("sh", "-c", f"docker create {registry.name('a:1')} x | xargs -I% docker cp %:/name -").out
    assert given in archive
    engine.remove_containers()
    digest = digest_of(registry.manifests["1"][1])
    assert engine.api("GET", "/images/json")[1][0]["RepoDigests"] == [f"{registry.name('a')}@{digest}"]


def test_none_of_an_index(engine: Engine, registry: Wild) -> None:
    index(registry, "linux/s390x", "windows/amd64")
    refused(
        engine, registry, "no matching manifest for linux/riscv64 in the manifest list", "--platform", "linux/riscv64"
    )
    refused(engine, registry, "is an invalid platform", "--platform", "linux/a/b/c")


def test_the_only_one_there_is_and_it_is_another(engine: Engine, registry: Wild) -> None:
    registry.image(layer())
    told = pull(engine, registry, "--platform", "linux/s390x").out
    assert "its platform (linux/amd64) does not match the specified platform (linux/s390x)" in told
    refused_push = engine.docker("push", "--platform", "linux/s390x", registry.name("a:1")).stderr
    assert "does not match the specified platform (linux/s390x)" in refused_push
    engine.docker("push", "--platform", "linux/amd64", registry.name("a:1")).ok()


# ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_goes_away_ends_its_pull(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    gone: list[float] = []

    def slow(request: Request) -> None:
        try:
            request.blob_until(SIZE * 2, lambda: None, pause=0.1)
        except OSError:
            gone.append(time.monotonic())
            raise

    registry.on(BLOB + blob["digest"], slow)
    client = engine.popen("docker", "pull", registry.name("a:1"), stdout=-3, stderr=-3)
    engine.wait_until(lambda: registry.served[blob["digest"]] > 1_200_000, "some of it has come")
    client.send_signal(signal.SIGINT)
    client.wait()
    engine.wait_until(lambda: gone, "the registry is left alone")
    had = (engine.data / "content" / "partial" / blob["digest"].removeprefix("sha256:")).stat().st_size
    assert had >= 1 << 20
    registry.behave()
    works(engine, registry)
    assert registry.served[blob["digest"]] == blob["size"] - had, "it went on where it was"


def test_two_pulls_at_once_share_the_work(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    registry.on(BLOB + blob["digest"], lambda request: request.blob_until(SIZE * 2, lambda: None, pause=0.01))
    clients = [engine.popen("docker", "pull", registry.name("a:1"), stdout=-3) for _ in range(3)]
    assert [client.wait(30) for client in clients] == [0, 0, 0]
    assert registry.served[blob["digest"]] == blob["size"]


def test_what_a_pull_needs_is_not_removed_meanwhile(engine: Engine, registry: Wild) -> None:
    """It shares a layer with an image that is removed while it waits for another layer."""
    shared = layer("shared", SIZE)
    registry.image(shared, tag="2")
    engine.docker("pull", registry.name("a:2")).ok()
    first, second = registry.image(shared, layer("own", SIZE))["layers"]
    go_on = threading.Event()
    registry.on(BLOB + second["digest"], lambda r: r.blob_until(1000, lambda: go_on.wait(PATIENCE / 2) and r.hang_up()))
    client = engine.popen("docker", "pull", registry.name("a:1"), stdout=-3)
    engine.wait_until(lambda: registry.served[second["digest"]], "it waits for the second one")
    registry.behave()
    engine.docker("rmi", registry.name("a:2")).ok()
    go_on.set()
    assert client.wait(30) == 0
    assert registry.served[first["digest"]] == 0, "the shared one was here"
    engine.docker("image", "inspect", registry.name("a:1")).ok()
    assert engine.api("GET", f"/images/{registry.name('a:1')}/get")[0] == 200


def test_what_interrupted_pulls_have_left_is_pruned(engine: Engine, registry: Wild) -> None:
    blob = registry.image(layer(size=SIZE))["layers"][0]
    registry.on(BLOB + blob["digest"], broken_off(0))
    registry.on(BLOB + blob["digest"], once(broken_off(2_000_000)))
    refused(engine, registry, "closed the connection half-way")
    assert engine.api("POST", "/images/prune")[1]["SpaceReclaimed"] > 1_500_000
    assert list((engine.data / "content" / "partial").iterdir()) == []


def test_the_daemon_is_killed_in_the_middle_of_a_pull(engine: Engine, registry: Wild) -> None:
    manifest = registry.image(layer(size=SIZE), layer("other", SIZE))
    first, second = manifest["layers"]
    registry.on(BLOB + second["digest"], lambda request: request.blob_until(SIZE * 2, lambda: None, pause=0.1))
    client = engine.popen("docker", "pull", registry.name("a:1"), stdout=-3, stderr=-3)
    engine.wait_until(lambda: registry.served[second["digest"]] > 1_200_000, "some of it has come")
    engine.wait_until(lambda: registry.served[first["digest"]] == first["size"], "all of the first has come")
    engine.wait_until(lambda: list((engine.data / "content" / "unpacked").iterdir()), "it is unpacked")
    [chain] = [path.name for path in (engine.data / "content" / "unpacked").iterdir()]
    [layer_of] = (engine.data / "storage").glob(f"*/layers/{chain}")
    made = layer_of.stat().st_ino
    engine.kill()
    client.wait()
    engine.start()
    assert engine.api("GET", "/images/json?all=1")[1] == []
    registry.behave()
    works(engine, registry)
    assert registry.served[first["digest"]] == 0
    assert registry.served[second["digest"]] <= second["size"] - (1 << 20), "it went on where it was"
    assert layer_of.stat().st_ino == made, "the first layer was not unpacked once more"
    assert list((engine.data / "content" / "unpacked").iterdir()) == []
    left = {path.name for path in (engine.data / "content" / "partial").iterdir()}
    assert not left & {blob["digest"].removeprefix("sha256:") for blob in (first, second)}


# ── pushing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def here(engine: Engine, registry: Wild) -> dict[str, Any]:
    """An image that is here, and nowhere else."""
    blob = registry.image(layer(size=SIZE))["layers"][0]
    works(engine, registry)
    registry.behave()
    registry.blobs.clear()
    registry.manifests.clear()
    return dict(blob)


def test_a_push_that_is_broken_off_goes_on_where_it_was(engine: Engine, registry: Wild) -> None:
    blob = here(engine, registry)

    def half(request: Request) -> None:
        ident = request.path.partition("?")[0].rpartition("/")[2]
        request.take(registry.uploads[ident], request.path, 500_000)
        request.hang_up()

    registry.on("PATCH", once(half))
    engine.docker("push", registry.name("a:1")).ok()
    assert blob["digest"] in registry.blobs
    others = sum(len(data) for digest, data in registry.blobs.items() if digest != blob["digest"])
    assert registry.received["a"] == blob["size"] + others, "no byte was sent twice"


def test_the_daemon_is_killed_in_the_middle_of_a_push(engine: Engine, registry: Wild) -> None:
    blob = here(engine, registry)
    taken = itertools.count()

    def slow(request: Request) -> bool:
        time.sleep(0.3 if next(taken) else 0)
        return False

    registry.on("PATCH", slow)
    client = engine.popen("docker", "push", registry.name("a:1"), stdout=-3, stderr=-3)
    engine.wait_until(lambda: registry.received["a"] >= 1 << 20, "some of it has been sent")
    engine.wait_until(lambda: list((engine.data / "content" / "uploads").iterdir()), "that is written down")
    engine.kill()
    client.wait()
    time.sleep(0.5)  # whatever the registry was doing
    before = len(max(registry.uploads.values(), key=len))
    assert before >= 1 << 20
    registry.behave()
    engine.start()
    engine.docker("push", registry.name("a:1")).ok()
    others = sum(len(data) for digest, data in registry.blobs.items() if digest != blob["digest"])
    assert registry.received["a"] == blob["size"] + others - before, "it went on where it was"
    assert list((engine.data / "content" / "uploads").iterdir()) == []


def test_a_push_that_nobody_takes(engine: Engine, registry: Wild) -> None:
    here(engine, registry)
    registry.on("PATCH", lambda request: time.sleep(4 * PATIENCE))
    done = engine.docker("push", registry.name("a:1"), timeout=60)
    assert done.code == 1
    assert "silent" in done.stderr or "half-way" in done.stderr
    registry.behave()
    engine.docker("push", registry.name("a:1")).ok()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "", "ftp://127.0.0.1/x"])
def test_uploads_that_lead_nowhere(engine: Engine, registry: Wild, location: str) -> None:
    here(engine, registry)
    registry.on("POST .*/uploads/", lambda request: request.answer(202, Location=location))
    assert engine.docker("push", registry.name("a:1")).code == 1


def test_a_registry_that_understands_another_manifest(engine: Engine, registry: Wild) -> None:
    here(engine, registry)
    lie = "sha256:" + "0" * 64
    registry.on("PUT .*/manifests/", lambda request: request.answer(201, Docker_Content_Digest=lie))
    assert "the registry has another manifest than it was sent" in engine.docker("push", registry.name("a:1")).stderr


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens(engine: Engine, registry: Wild) -> None:
    registry.image(layer())
    with Wild(engine, 5103, tokens=True) as guarded:
        guarded.blobs, guarded.manifests = registry.blobs, registry.manifests
        works(engine, guarded)
        assert guarded.given == ["token-0-repository:a:pull"], "one token for all of it"
        name = guarded.name("a:1")
        assert "denied: requested access to the resource is denied" in engine.docker("push", name).stderr
        login = ["-u", "captain", "--password-stdin", guarded.address]
        assert "incorrect username or password" in engine.docker("login", *login, stdin="wrong").stderr
        assert "Login Succeeded" in engine.docker("login", *login, stdin="secret").out
        kept = json.loads((engine.root / "docker" / "config.json").read_text())["auths"][guarded.address]
        assert kept["identitytoken"] == "of-the-captain", "the password is not kept: the token will do"
        guarded.blobs, guarded.manifests = {}, {}
        for each in (engine.docker, engine.sampan):
            each("push", name).ok()
        engine.docker("rmi", name).ok()
        guarded.on(BLOB, once(lambda request: guarded.given.clear() or request.challenge()))  # it has expired
        engine.docker("pull", name).ok()
        engine.docker("logout", guarded.address).ok()


def test_credential_helpers(engine: Engine, registry: Wild) -> None:
    """Our own client asks them as docker does."""
    helper = engine.root / "docker-credential-test"
    kept = engine.root / "kept"
    helper.write_text(
        f'#!/bin/sh\ncase "$1" in\nstore) cat >{kept} ;;\nerase) rm {kept} ;;\n'
        f'get) cat {kept} 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;\nesac\n'
    )
    helper.chmod(0o755)
    (engine.root / "docker").mkdir(exist_ok=True)
    (engine.root / "docker" / "config.json").write_text(json.dumps({"credsStore": "test"}))
    path = f"PATH={engine.root}:{engine.environment()['PATH']}"
    with Wild(engine, 5104, tokens=True) as guarded:
        login = ["-u", "captain", "--password-stdin", guarded.address]
        engine.run("env", path, *SAMPAN, "login", *login, stdin="secret").ok()
        assert json.loads(kept.read_text())["Username"] == "<token>"
        here(engine, registry)
        engine.docker("tag", registry.name("a:1"), guarded.name("a:1")).ok()
        for client in (["docker"], SAMPAN):
            engine.run("env", path, *client, "push", guarded.name("a:1")).ok()
        assert "Removing login" in engine.run("env", path, *SAMPAN, "logout", guarded.address).out
        assert "Not logged in" in engine.run("env", path, *SAMPAN, "logout", guarded.address).out
        assert engine.run("env", path, *SAMPAN, "push", guarded.name("a:1")).code == 1
    (engine.root / "docker" / "config.json").unlink()

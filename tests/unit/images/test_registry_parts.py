"""The parts of the registries' client that need no registry."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sampan.config import RegistriesConfig, RegistryHost, parse
from sampan.errors import Exhausted, Invalid, NotFound
from sampan.images import references
from sampan.images.content import ContentStore, digest_of
from sampan.images.registry import authorization, credentials, endpoints, persistence, platforms
from sampan.images.registry.failures import Answered, Temporary, answered, of_pull, shown
from sampan.images.registry.loop import Loop, in_thread
from sampan.images.registry.partials import Partials
from sampan.images.registry.platforms import Platform
from sampan.images.registry.progress import Board, Line, bar
from sampan.images.registry.proxies import proxy_for, told

# ── platforms ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("arm64", "linux/arm64"),
        ("Linux/I386", "linux/386"),
    ],
)
def test_platforms_have_one_spelling(text: str, platform: str) -> None:
    assert str(platforms.parse(text)) == platform


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "/", "linux/a b", "\x1b"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(Invalid, match="invalid platform"):
        platforms.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", "linux/386 linux/amd64/v2 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/386", "linux/386"),
        ("linux/amd64", "linux/amd64/v2", None),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2", "linux/amd64/v2"),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm/v7 linux/arm64/v8", "linux/arm64"),
        ("linux/s390x", "linux/amd64", None),
    ],
)
def test_the_best_of_several(wanted: str, offered: str, chosen: str | None) -> None:
    pairs = [(platforms.parse(each), each) for each in offered.split()]
    found = platforms.choose(platforms.parse(wanted), pairs)
    assert (str(platforms.parse(found)) if found else None) == chosen


@pytest.mark.parametrize("text", ["bogus", "a1"])
def test_what_is_no_system_and_no_architecture(text: str) -> None:
    with pytest.raises(Invalid, match="unknown operating system or architecture"):
        platforms.parse(text)


def test_what_an_image_is_for() -> None:
    assert str(platforms.of({"os": "linux", "architecture": "arm", "variant": "v6"})) == "linux/arm/v6"
    assert platforms.of({}) == platforms.parse("")


def test_this_machine_is_meant_if_nothing_is_said() -> None:
    assert platforms.parse("").os == "linux"
    assert isinstance(platforms.parse(""), Platform)


# ── ways ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "exceptions", "proxy"),
    [
        ("https://registry.example/v2/", "", "http://secure:1"),
        ("http://registry.example/v2/", "", "http://plain:1"),
        ("http://localhost:5000/", "", None),
        ("http://127.1.2.3/", "", None),
        ("https://[::1]:5000/", "", None),
        ("https://registry.example/", "registry.example", None),
        ("https://deep.registry.example/", "registry.example", None),
        ("https://notregistry.example/", "registry.example", "http://secure:1"),
        ("https://registry.example/", ".registry.example", "http://secure:1"),
        ("https://deep.registry.example/", ".registry.example", None),
        ("https://deep.registry.example/", "*.registry.example", None),
        ("https://registry.example:5000/", "registry.example:5000", None),
        ("https://registry.example:5001/", "registry.example:5000", "http://secure:1"),
        ("https://192.0.2.7/", "192.0.2.0/24", None),
        ("https://192.0.3.7/", "192.0.2.0/24, nonsense/99", "http://secure:1"),
        ("https://192.0.2.7/", "192.0.2.7", None),
        ("https://[2001:db8::1]/", "2001:db8::/32", None),
        ("https://registry.example/", "*", None),
    ],
)
def test_proxies(url: str, exceptions: str, proxy: str | None) -> None:
    environment = {"HTTPS_PROXY": "http://secure:1", "http_proxy": "plain:1", "NO_PROXY": exceptions}
    assert proxy_for(url, environment) == proxy


def test_proxies_are_told_without_their_secrets() -> None:
    found = told({"HTTP_PROXY": "http://me:secret@proxy:3128", "NO_PROXY": "a,b"})
    assert found == {"http_proxy": "http://xxxxx:xxxxx@proxy:3128", "https_proxy": "", "no_proxy": "a,b"}


def bases(domain: str, **config: Any) -> list[str]:
    mirrors = config.pop("mirrors", False)
    return [each.base for each in endpoints.find(domain, RegistriesConfig(**config), mirrors=mirrors)]


def test_where_registries_are() -> None:
    assert bases("docker.io") == ["https://registry-1.docker.io"]
    assert bases("registry.example:5000") == ["https://registry.example:5000"]
    for local in ("localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"):
        assert bases(local) == [f"https://{local}", f"http://{local}"]
    hosts = {"a.example": RegistryHost(insecure=True, mirrors=["https://m.example"])}
    assert bases("a.example", hosts=hosts) == ["https://a.example", "http://a.example"]
    assert bases("a.example", hosts=hosts, mirrors=True)[0] == "https://m.example"
    assert not endpoints.is_local("localhost.example:80")
    assert not endpoints.is_local("128.0.0.1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("registries: {downloads: 0}", "registries.downloads: 0 is not allowed; expected a whole number from 1 to 64"),
        ("registries: {hosts: {a: {mirrors: [a.example]}}}", "expected a URL such as https://mirror.example:5000"),
        ("registries: {hosts: {a: {mirrors: ['https://a/b']}}}", "expected a URL such as"),
        ("registries: {hosts: {a: {ca_file: ca.pem}}}", "expected an absolute path without .., or nothing"),
        ("registries: {hosts: {a: {secure: true}}}", "registries.hosts.a.secure: unknown key"),
        ("registries: {piece: much}", "expected a size such as 512k, 32m or 1g"),
    ],
)
def test_configurations_that_are_wrong(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert problem in str(caught.value)


# ── who asks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def header(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_credentials_as_docker_sends_them() -> None:
    sent = {"username": "me", "password": "ö?>~", "serveraddress": "https://index.docker.io/v1/", "email": "x"}
    found = credentials.read(header(sent))
    assert (found.username, found.password, found.server_address) == ("me", "ö?>~", "https://index.docker.io/v1/")
    assert credentials.read(header(sent).rstrip("=")) == found
    assert credentials.read(base64.b64encode(json.dumps(sent).encode()).decode()) == found
    for kind in ("identitytoken", "registrytoken"):
        assert msgspec.to_builtins(credentials.read(header({kind: "t"})))[kind] == "t"
    joined = base64.b64encode(b"me:a:b").decode()
    assert list(msgspec.to_builtins(credentials.read(header({"auth": joined}))).values())[:2] == ["me", "a:b"]
    for nobody in ("", header({}), header(None)):
        assert not credentials.read(nobody)
    assert "ö" not in repr(found)


@pytest.mark.parametrize("text", ["!", "AAAA", header([]), header("x"), header({"username": 3}), header({"auth": "!"})])
def test_credentials_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="invalid X-Registry-Auth header"):
        credentials.read(text)


def test_challenges() -> None:
    text = 'Bearer realm="https://a/token?x=1,2",service="a b",scope="repository:x:pull,push", Basic realm="q\\"q"'
    bearer, basic = authorization.challenges(text)
    assert bearer == ("bearer", {"realm": "https://a/token?x=1,2", "service": "a b", "scope": "repository:x:pull,push"})
    assert basic == ("basic", {"realm": 'q"q'})
    assert authorization.challenges("Negotiate, BASIC realm=x") == [("basic", {"realm": "x"})]
    assert authorization.challenges("") == []


# ── trying again ───────────────────────────────────────────────────────────────────────────────────────────────────


def attempts(
    monkeypatch: pytest.MonkeyPatch, most: int, *results: object, reached: list[int] | None = None
) -> list[float]:
    """Runs an act whose attempts give these, and returns the pauses between them."""
    pauses: list[float] = []
    left = list(results)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def act() -> object:
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(persistence.asyncio, "sleep", sleep)
    steps = iter(reached or [0] * 100)
    asyncio.run(persistence.persistently(most, act, reached=lambda: next(steps)))
    return pauses


def test_pauses_grow_or_are_as_long_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Temporary("busy")
    first, second, third = attempts(monkeypatch, 5, again, again, Temporary("busy", 7.0), "done")
    assert 0.3 < first < 0.7
    assert 0.7 < second < 1.3
    assert third == 7.0


def test_whoever_gets_nowhere_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Temporary("busy")
    with pytest.raises(Temporary):
        attempts(monkeypatch, 2, again, again, "done")
    with pytest.raises(Temporary):
        attempts(monkeypatch, 5, Temporary("come back tomorrow", 86400.0), "done")
    assert len(attempts(monkeypatch, 2, *[again] * 4, "done", reached=list(range(100)))) == 4


def test_retry_after() -> None:
    assert persistence.retry_after("120") == 120
    assert persistence.retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert persistence.retry_after("soon") is None
    assert persistence.retry_after("-1") is None
    assert persistence.retry_after("9" * 400) is not None


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fault(status: int, *codes: str) -> Answered:
    return answered(status, json.dumps({"errors": [{"code": code, "message": "why"} for code in codes]}).encode(), "it")


def test_errors_of_registries() -> None:
    assert fault(404, "MANIFEST_UNKNOWN").message == "manifest unknown: why"
    assert answered(500, b"<html>", "Get it").message == "Get it: the registry answered with the status 500"
    assert answered(401, b'{"details":"incorrect username"}', "it").message == "incorrect username"
    assert shown("a\x1b[2J\n\tb" + "x" * 1000).startswith("a [2J b")
    assert len(shown("x" * 1000)) == 300


def test_errors_of_pulls_are_dockers() -> None:
    name = references.parse("host.example/a:1")
    unknown = of_pull(fault(404, "MANIFEST_UNKNOWN"), name)
    assert isinstance(unknown, NotFound)
    assert unknown.message == "manifest for host.example/a:1 not found: manifest unknown: why"
    nobody = of_pull(fault(404, "NAME_UNKNOWN"), name).message
    assert nobody.startswith("repository host.example/a not found: does not exist or no pull access: name unknown")
    for each in (fault(401, "UNAUTHORIZED"), fault(403, "DENIED")):
        denied = of_pull(each, name)
        assert isinstance(denied, NotFound)
        start = "pull access denied for host.example/a, repository does not exist or may require 'docker login': "
        assert denied.message.startswith(start)
    busy = Temporary("busy")
    assert of_pull(busy, name) is busy


# ── progress ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_waits_for_a_client_that_reads_slowly() -> None:
    board = Board()
    line = Line(board, "abc")
    line.say("Pulling fs layer")
    for current in range(1000):
        board.put({"status": "Downloading", "progressDetail": {"current": current, "total": 1000}, "id": "abc"})
    line.say("Download complete")
    first, moving, last = board.take()
    assert moving["progressDetail"]["current"] == 999, "the last word is kept"
    assert (first["status"], last["status"]) == ("Pulling fs layer", "Download complete")
    board.close()
    assert board.take() == []


def test_bars() -> None:
    assert bar(1_200_000, 6_000_000) == "[==========>" + " " * 39 + "]   1.2MB/6MB"
    assert bar(6, 6) == "[" + "=" * 50 + "]      6B/6B"
    assert "0B/0B" in bar(0, 0)


def test_work_ends_when_the_client_has_gone_and_not_before_it_is_over() -> None:
    board, loop, over = Board(), Loop(), threading.Event()
    leave: list[Any] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            over.set()

    def leaving(callback: Any) -> None:
        leave.append(callback)
        threading.Timer(0.05, callback).start()

    with pytest.raises(BrokenPipeError):
        loop.attend(work(), board, lambda message: None, leaving)
    assert over.is_set()


def test_a_thread_is_waited_for_even_by_whom_is_cancelled() -> None:
    done: list[int] = []

    async def main() -> None:
        task = asyncio.create_task(in_thread(lambda: (time.sleep(0.1), done.append(1))))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == [1]

    asyncio.run(main())


def test_a_daemon_that_talks_to_no_registry_does_not_pay_for_it() -> None:
    program = "import sys, sampan.api.app, sampan.engine; sys.exit('aiohttp' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# ── partial blobs ──────────────────────────────────────────────────────────────────────────────────────────────────

DATA = b"some cargo" * 1000


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "content")
    store.open()
    return store


def begun(content: ContentStore, count: int) -> Partials:
    """So many bytes of the blob have come."""
    partials = Partials(content)
    partials.open()
    partial = partials.begin(digest_of(DATA), len(DATA))
    partial.write(DATA[:count])
    partial.close()
    return partials


def test_what_has_come_is_gone_on_with_after_a_crash(content: ContentStore) -> None:
    begun(content, 5000)
    partials = Partials(content)
    content.open()
    partials.open()
    partial = partials.begin(digest_of(DATA), len(DATA))
    assert partial.size == partial.began_at == 5000
    assert not partial.is_right()
    partial.write(DATA[5000:])
    assert partial.is_right()
    partials.keep(partial)
    partials.settle([partial.digest])
    with content.reader(partial.digest) as blob:
        assert blob.read() == DATA


def test_a_blob_that_nobody_speaks_for_yet_is_not_lost(content: ContentStore) -> None:
    """The pull failed behind the download: the store threw the blob away, and the next pull has it at once."""
    partials = begun(content, len(DATA))
    partial = partials.begin(digest_of(DATA), len(DATA))
    partials.keep(partial)
    partial.close()
    content.remove(partial.digest)
    again = partials.begin(digest_of(DATA), len(DATA))
    assert again.size == again.whole
    assert again.is_right()
    partials.keep(again)
    partials.forget([again.digest])
    assert again.path.exists(), "somebody is still writing to it"
    again.close()
    partials.forget([again.digest])
    assert content.has(again.digest)
    assert list((content.root / "partial").iterdir()) == []


def test_more_than_there_shall_be(content: ContentStore) -> None:
    partials = begun(content, len(DATA))
    partial = partials.begin(digest_of(DATA), 100)
    assert partial.size == 0, "what is longer is no part of it"
    with pytest.raises(Invalid, match="has more than the 100 bytes that were announced"):
        partial.write(DATA)
    assert partial.size == 0


def test_there_is_room_or_it_is_not_begun(content: ContentStore) -> None:
    partials = Partials(content)
    with pytest.raises(Exhausted, match="no space is left for blob"):
        partials.begin(digest_of(DATA), 1 << 60)


def test_what_is_being_written_is_not_swept(content: ContentStore) -> None:
    partials = begun(content, 10)
    writing = partials.begin(digest_of(DATA), len(DATA))
    assert partials.sweep() == 0
    writing.write(DATA[10:])
    writing.close()
    assert partials.sweep() == len(DATA)
    assert list((content.root / "partial").iterdir()) == []


def test_what_is_old_or_kept_is_swept(content: ContentStore) -> None:
    import os

    partials = begun(content, 10)
    path = content.root / "partial" / digest_of(DATA).removeprefix("sha256:")
    partials.open()
    assert path.exists()
    os.utime(path, (0, 0))
    partials.open()
    assert not path.exists()
    partials = begun(content, 10)
    content.add(DATA)
    partials.open()
    assert not path.exists()

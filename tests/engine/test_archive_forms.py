"""Archives in all the forms that are about, through both command lines: load, save, import and export."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from engine.conftest import Cli
from harness import Engine
from harness.wild_registry import Request, Wild
from unit.images.image_archives import Files, config_of, docker_28, layout, old_docker, sha, tar_of

pytestmark = pytest.mark.root

LOWER = tar_of({"etc": None, "etc/a": b"lower", "gone": b"x"})
UPPER = tar_of({"etc/a": b"upper", "b": b"new", ".wh.gone": b""})
CONFIG = config_of(LOWER, UPPER)

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def joined(*archives: Files) -> Files:
    """Several images in one Docker archive."""
    entries = [entry for files in archives for entry in json.loads(files["manifest.json"] or b"")]
    return {**{k: v for files in archives for k, v in files.items()}, "manifest.json": json.dumps(entries).encode()}


FORMS: dict[str, bytes] = {
    "docker 20.10": tar_of(old_docker(LOWER, UPPER, tags=("form:1",))),
    "docker 28": tar_of(docker_28(LOWER, UPPER, tags=("form:1",))),
    "docker 28 with packed layers": tar_of(
        docker_28(gzip.compress(LOWER), zstandard.compress(UPPER), diff=(LOWER, UPPER), tags=("form:1",))
    ),
    "OCI": tar_of(layout(LOWER, UPPER, name="form:1")),
    "OCI with packed layers": tar_of(
        layout(zstandard.compress(LOWER), gzip.compress(UPPER), diff=(LOWER, UPPER), name="form:1")
    ),
    "OCI with an index within the index": tar_of(layout(LOWER, UPPER, name="form:1", nested=True)),
    **{
        f"{name} around {name} layers": pack(
            tar_of(old_docker(pack(LOWER), pack(UPPER), config=CONFIG, tags=("form:1",)))
        )
        for name, pack in PACKERS.items()
    },
}

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "neither manifest.json"),
    "a few bytes": (b"rub", "truncated|not an image archive"),
    "no archive": (b"rubbish" * 400, "not an image archive"),
    "zeros": (bytes(10240), "neither manifest.json"),
    "a root file system": (LOWER, "for import"),
    "half of one": (FORMS["docker 28"][: len(FORMS["docker 28"]) // 2], "truncated"),
    "a bit flipped": (FORMS["docker 28"].replace(b"upper", b"uppes"), "is damaged"),
    "another layer than was meant": (tar_of(old_docker(LOWER, config=config_of(UPPER))), "does not match its image"),
    "fewer layers than were meant": (tar_of(old_docker(LOWER, config=CONFIG)), "2 diff ids for 1 layers"),
    "half of a packed one": (FORMS["gzip around gzip layers"][:300], "truncated"),
}


@pytest.fixture(scope="module")
def web(engine: Engine) -> Iterator[Wild]:
    """A web server beside the engine."""
    with Wild(engine, 5107) as server:
        yield server


def gone(engine: Engine, name: str) -> None:
    assert engine.api("DELETE", f"/images/{name}?force=1")[0] == 200


@pytest.mark.parametrize("form", FORMS)
def test_loading(engine: Engine, docker_cli: str, tmp_path: Path, form: str) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(FORMS[form])
    for cli, words in ((engine.docker, ["-i", str(file)]), (engine.sampan, ["-q"])):
        done = cli("load", *words, stdin=FORMS[form] if words == ["-q"] else None)
        assert done.out == "Loaded image: form:1"
        told = engine.api("GET", "/images/form:1/json")[1]
        assert told["Id"] == "sha256:" + sha(CONFIG)
        assert told["RootFS"]["Layers"] == [f"sha256:{sha(layer)}" for layer in (LOWER, UPPER)]
        gone(engine, "form:1")


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_loaded_is_told_in_a_sentence(engine: Engine, docker_cli: str, what: str) -> None:
    data, sentence = BROKEN[what]
    for cli in (engine.docker, engine.sampan):
        done = cli("load", stdin=data)
        assert done.code == 1
        [line] = done.stderr.strip().splitlines()
        assert any(each in line for each in sentence.split("|")), line
    assert engine.api("GET", "/images/json?all=1")[1] == []


def test_several_images_go_out_and_come_back(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    """By name, by repository, which means all of its tags, and by id, which means none."""
    archive = joined(
        old_docker(LOWER, tags=("one:1", "two:1")), old_docker(LOWER, UPPER, tags=("two:2",)), docker_28(UPPER, tags=())
    )
    ident = "sha256:" + sha(config_of(UPPER))
    loaded = cli("load", stdin=gzip.compress(tar_of(archive))).out.splitlines()
    assert loaded == [*(f"Loaded image: {name}" for name in ("one:1", "two:1", "two:2")), f"Loaded image ID: {ident}"]
    file = tmp_path / "saved.tar"
    cli("save", "-o", file, "two", ident[7:19], "one:1").ok()
    with tarfile.open(file) as tar:
        saved = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        names = [sorted(entry["RepoTags"] or []) for entry in saved]
        assert sorted(names) == [[], ["one:1", "two:1"], ["two:2"]]
        blobs = [name for name in tar.getnames() if name.startswith("blobs/sha256/")]
        assert len(blobs) == len(set(blobs)), "what images share is in it once"
    for name in ("one:1", "two:1", "two:2", ident):
        gone(engine, name)
    assert sorted(cli("load", "-i", file).out.splitlines()) == sorted(loaded)
    missing = cli("save", "-o", tmp_path / "no.tar", "one:1", "nobody")
    assert "No such image: nobody" in missing.stderr
    assert not (tmp_path / "no.tar").exists()
    for name in ("one:1", "two:1", "two:2", ident):
        gone(engine, name)


def test_importing(engine: Engine, cli: Cli, web: Wild, tmp_path: Path) -> None:
    """From a file, from stdin, from a web server; as it is and packed."""
    packed = {"none": LOWER, **{name: pack(LOWER) for name, pack in PACKERS.items()}}
    change = ["-c", 'CMD ["/etc/a", "x"]', "-c", "ENV A=b C=d", "-m", "why", "--platform", "linux/arm/v7"]
    for name, data in packed.items():
        assert cli("import", *change, "-", f"in:{name}", stdin=data).out.startswith("sha256:")
        told = engine.api("GET", f"/images/in:{name}/json")[1]
        assert (told["Config"]["Cmd"], told["Config"]["Env"], told["Comment"]) == (
            ["/etc/a", "x"],
            ["A=b", "C=d"],
            "why",
        )
        assert (told["Os"], told["Architecture"], told["Variant"]) == ("linux", "arm", "v7")
        assert told["RootFS"]["Layers"] == ["sha256:" + sha(LOWER)]
        gone(engine, f"in:{name}")
    (tmp_path / "root.tar").write_bytes(LOWER)
    cli("import", tmp_path / "root.tar", "in:file").ok()
    assert engine.api("GET", "/images/in:file/json")[1]["Comment"] == "Imported from -"
    gone(engine, "in:file")
    web.on("GET /root", lambda request: request.answer(200, packed["xz"]))
    done = cli("import", f"http://{web.address}/root.tar.xz", "in:web")
    assert f"Downloading from http://{web.address}/root.tar.xz" in done.out
    assert done.out.splitlines()[-1].startswith("sha256:")
    assert engine.api("GET", "/images/in:web/json")[1]["Comment"] == f"Imported from http://{web.address}/root.tar.xz"
    gone(engine, "in:web")


def cut(request: Request) -> None:
    request.answer(200, LOWER[:600], Content_Length=str(len(LOWER)))
    request.hang_up()


WEB: dict[str, tuple[Callable[[Request], None], str]] = {
    "not there": (lambda request: request.answer(404, b"nothing here"), "404 Not Found: nothing here"),
    "not for us": (lambda request: request.answer(403), "403 Forbidden"),
    "in circles": (lambda request: request.answer(302, Location=request.path), "stopped after 10 redirects"),
    "to a file": (lambda request: request.answer(302, Location="file:///etc/passwd"), "which is no URL"),
    "rubbish": (lambda request: request.answer(200, b"rubbish" * 400), "no tar archive"),
    "empty": (lambda request: request.answer(200), "nothing to import"),
    "cut off": (cut, "unexpected EOF"),
}


@pytest.mark.parametrize("what", WEB)
def test_a_web_server_that_does_not_give_it(engine: Engine, docker_cli: str, web: Wild, what: str) -> None:
    handler, sentence = WEB[what]
    web.behave()
    web.on("GET /", handler)
    for cli in (engine.docker, engine.sampan):
        done = cli("import", f"http://{web.address}/x.tar", "web:1")
        assert done.code == 1
        assert sentence in done.stderr.strip().splitlines()[-1]
    assert engine.api("GET", "/images/json?all=1")[1] == []


def test_no_web_server(engine: Engine, cli: Cli, web: Wild) -> None:
    assert "connect: connection refused" in cli("import", "http://127.0.0.1:1/x.tar").stderr
    assert "must be lowercase" in cli("import", f"http://{web.address}/x.tar", "UPPER").stderr


def test_a_name_and_password_are_sent_and_not_kept(engine: Engine, docker_cli: str, web: Wild) -> None:
    web.behave()
    web.on("GET /", lambda request: request.answer(200, LOWER))
    engine.docker("import", f"http://me:secret@{web.address}/root.tar", "in:1").ok()
    assert web.asked[-1][2]["authorization"] == "Basic bWU6c2VjcmV0"
    assert "secret" not in json.dumps(engine.api("GET", "/images/in:1/history")[1])
    gone(engine, "in:1")


@pytest.mark.parametrize("state", ["running", "exited"])
def test_exporting(engine: Engine, docker_cli: str, tmp_path: Path, state: str) -> None:
    cli, shell, name = {"running": engine.docker}.get(state, engine.sampan), engine.image(), f"out-{state}"
    script = "echo made > /made; rm /etc/passwd; touch /ready; exec sleep 1000"
    engine.docker("run", "-d", "--name", name, shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: "A /ready" in engine.docker("diff", name).out, "the changes are made")
    if state == "exited":
        engine.docker("kill", name).ok()
    cli("export", "-o", tmp_path / "out.tar", name).ok()
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = tar.getnames()
        assert tar.extractfile("made").read() == b"made\n"  # type: ignore[union-attr]
        assert "etc/passwd" not in names
        assert not [each for each in names if each.startswith(("proc/", "sys/"))]
    assert cli("import", "-", "back:1", stdin=(tmp_path / "out.tar").read_bytes()).out.startswith("sha256:")
    assert cli("run", "--rm", "back:1", "cat", "/made").out == "made"
    gone(engine, "back:1")
    engine.docker("rm", "-f", name).ok()
    assert "No such container: nobody" in cli("export", "-o", tmp_path / "no.tar", "nobody").stderr

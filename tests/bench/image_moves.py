"""(i) Images on the move: load, pull, save and commit, with about 230 MB in 20,000 files, all of it on a tmpfs."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from reporting import OURS, Part, Row, Times, at_least, at_most
from rounds import take_turns
from scratch import Scratch, docker

from harness.dockerd import Dockerd
from harness.engine import Engine
from harness.registry import Registry

DIRECTORIES, EACH, LARGEST = 400, 50, 23_000
CHANGED = 40  # directories that a container has more than its image
ROUNDS = 5
NAME = "moved:1"
TAR = "tar -x"


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part("images of 230 MB in 20,000 files, on a tmpfs", "ms")
    scratch.tell("(i)")
    place = scratch.run / "images"
    place.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        root, more = place / "root.tar", place / "more.tar"
        _archive(root, "usr", DIRECTORIES)
        _archive(more, "new", CHANGED)
        ours = _Ours(log_level="warning", data_root=f"{place}/s", exec_root=f"{place}/x")
        ours.place = place / "s"
        hosts = {OURS: stack.enter_context(ours).host}
        if shutil.which("dockerd"):  # where ours is, so that both reach one registry, and without a network of its own
            rival = Dockerd(place / "d", place / "r", ours.net, scratch.name, "--bridge", "none", "--iptables=false")
            hosts["dockerd"] = stack.enter_context(rival).host
        registry = stack.enter_context(Registry(ours)) if shutil.which("docker-registry") else None
        part.rows = _rows(scratch, hosts, place, registry, min(runs, ROUNDS))
    return part


def _rows(scratch: Scratch, hosts: dict[str, str], place: Path, registry: Registry | None, runs: int) -> list[Row]:
    subjects = {name: _Site(host, place, registry) for name, host in hosts.items()}
    for site in subjects.values():
        site.prepare()
    tar = {TAR: partial(_untar, place)}

    def turns(what: Callable[[_Site], float], others: dict[str, Callable[[], float]] | None = None) -> dict[str, Times]:
        return take_turns({name: partial(what, site) for name, site in subjects.items()} | (others or {}), runs, told)

    told = scratch.tell
    loaded = turns(_Site.load, tar)
    plain = {name: times for name, times in loaded.items() if name in (OURS, TAR)}
    return [
        Row("load", {name: times for name, times in loaded.items() if name != TAR}, at_least("dockerd", 2.5)),
        Row("load, beside tar -x of the same files", plain, at_most(TAR, 1.5)),
        *([Row("pull from a registry", turns(_Site.pull), at_least("dockerd", 3))] if registry else []),
        Row("save", turns(_Site.save), at_least("dockerd", 1)),
        Row("commit of 2,000 new files", turns(_Site.commit), at_least("dockerd", 3)),
        # Ours does not unpack a commit's layer before somebody needs it: this is both together.
        Row("commit of 2,000 new files, and a container of it", turns(_Site.commit_and_create), at_least("dockerd", 1)),
    ]


class _Ours(Engine):
    place: Path

    @property
    def data(self) -> Path:
        return self.place


class _Site:
    def __init__(self, host: str, place: Path, registry: Registry | None) -> None:
        self._host = host
        self._place = place
        self._registry = registry

    def prepare(self) -> None:
        docker(self._host, "import", str(self._place / "root.tar"), NAME)
        if not (self._place / "image.tar").exists():  # ours, and dockerd reads it
            docker(self._host, "save", "-o", str(self._place / "image.tar"), NAME)

    def load(self) -> float:
        docker(self._host, "rmi", "-f", NAME)
        return _timed(lambda: docker(self._host, "load", "-q", "-i", str(self._place / "image.tar")))

    def pull(self) -> float:
        """And to begin with, a push of ours."""
        assert self._registry is not None
        name = self._registry.name(NAME)
        if not self._registry.requests("PUT", "/manifests/"):
            docker(self._host, "tag", NAME, name)
            docker(self._host, "push", "-q", name)
        docker(self._host, "rmi", "-f", *docker(self._host, "images", "-q").split()[:1])
        seconds = _timed(lambda: docker(self._host, "pull", "-q", name))
        docker(self._host, "tag", name, NAME)
        return seconds

    def save(self) -> float:
        target = self._place / "saved.tar"
        seconds = _timed(lambda: docker(self._host, "save", "-o", str(target), NAME))
        target.unlink()
        return seconds

    def commit(self) -> float:
        self._change()
        seconds = _timed(lambda: docker(self._host, "commit", "changed", "committed:1"))
        docker(self._host, "rmi", "committed:1")
        return seconds

    def commit_and_create(self) -> float:
        self._change()

        def both() -> None:
            docker(self._host, "commit", "changed", "committed:1")
            docker(self._host, "create", "--name", "made-of-it", "committed:1", "true")

        seconds = _timed(both)
        docker(self._host, "rm", "made-of-it")
        docker(self._host, "rmi", "committed:1")
        return seconds

    def _change(self) -> None:
        if not docker(self._host, "ps", "-aq"):
            docker(self._host, "create", "--network", "none", "--name", "changed", NAME, "true")
            with (self._place / "more.tar").open("rb") as file:
                subprocess.run(["docker", "-H", self._host, "cp", "-", "changed:/"], stdin=file, check=True)


def _timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def _untar(place: Path) -> float:
    target = place / "untarred"
    target.mkdir()
    try:
        return _timed(lambda: subprocess.run(["tar", "-xf", place / "root.tar", "-C", target], check=True))
    finally:
        shutil.rmtree(target)


def _archive(path: Path, top: str, directories: int) -> None:
    """Files of random content and length, the same every time."""
    chance = random.Random(1)  # noqa: S311 - no secrets
    content = chance.randbytes(1 << 20)
    with tarfile.open(path, "w") as tar:
        for number in range(directories):
            info = tarfile.TarInfo(f"{top}/d{number}")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
            for file in range(EACH):
                info = tarfile.TarInfo(f"{top}/d{number}/f{file}")
                info.size = chance.randint(100, LARGEST)
                start = chance.randint(0, len(content) - info.size)
                tar.addfile(info, io.BytesIO(content[start : start + info.size]))

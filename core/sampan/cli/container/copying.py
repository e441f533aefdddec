"""``cp``: files between a container and this host, with the rules of ``cp -a`` for where they end up.

Docker's rules ("docker container cp" in its manual): into a directory that exists, beside its content; otherwise
under the new name; ``SOURCE/.`` means what is in the directory. What comes out of a container is untrusted: links in
it are made and never followed out of the target.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import threading

from sampan.cli import wire
from sampan.cli.failures import Failure, Refused, Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.keep import write_archive
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from sampan.cli.client import Client

_TAR = "application/x-tar"
_GO_DIRECTORY, _GO_SYMLINK = 1 << 31, 1 << 27  # https://pkg.go.dev/io/fs#FileMode


@command(
    "CONTAINER:SOURCE TARGET|- | SOURCE|- CONTAINER:TARGET",
    Flag("archive", "Files belong to the container's user", short="a"),
    Flag("follow-link", "Follow a symbolic link in the source", short="L"),
    Flag("quiet", "Do not show progress", short="q"),
    least=2,
    most=2,
    examples=("sampan cp web:/etc/hosts .", "sampan cp page.html web:/srv/", "tar -c x | sampan cp - web:/srv"),
)
def cp(args: Args) -> None:
    source, target = (_place(word) for word in args.rest)
    if source.container and target.container:
        raise Usage("copying between containers is not supported", code=1)
    client = open_client(args)
    if source.container:
        _out(client, source, target.path, follow=args.follow_link)
    elif target.container:
        _in(client, source.path, target, follow=args.follow_link, as_user=args.archive)
    else:
        raise Usage("one side must be in a container: write CONTAINER:/path", code=1)


class Place:
    """One side: ``container`` is ``""`` for this host."""

    def __init__(self, container: str, path: str) -> None:
        self.container = container
        self.path = path
        self.url = f"/containers/{container}/archive"


class Found:
    """What is in a container at a path: ``link`` is where a symbolic link leads."""

    def __init__(self, header: str) -> None:
        from binascii import a2b_base64

        told = wire.loads(a2b_base64(header))
        self.directory = bool(told["mode"] & _GO_DIRECTORY)
        self.link = str(told["linkTarget"]) if told["mode"] & _GO_SYMLINK else ""
        self.permissions = int(told["mode"]) & 0o777


def _place(word: str) -> Place:
    name, colon, path = word.partition(":")
    if word == "-" or not colon or word.startswith(("/", ".")):
        return Place("", word)
    if not name or not path:
        raise Usage(f"{word} names no file in a container: write CONTAINER:/path", code=1)
    return Place(name, path if path.startswith("/") else f"/{path}")


def _look(client: Client, place: Place, path: str) -> Found | None:
    try:
        headers = client.head(place.url, {"path": path})
    except Refused:
        return None  # why, the answer to what is tried next says
    return Found(headers.get("x-docker-container-path-stat", ""))


# ── out of a container ─────────────────────────────────────────────────────────────────────────────────────────────


def _out(client: Client, source: Place, target: str, *, follow: bool) -> None:
    path, name = source.path, _base(source.path)
    found = _look(client, source, path)
    if found and follow and found.link:
        path = found.link
        found = _look(client, source, path)
    if target == "-":
        write_archive(client.request("GET", source.url, {"path": path}), "")
        return
    if found is None:
        client.request("GET", source.url, {"path": path})  # for the daemon's words
        raise Failure(f"{path} vanished from container {source.container}")
    if found.directory:
        into = target if _contents(path) else os.path.join(target, name)  # noqa: PTH118
        _directory_out(client, source, path, into if os.path.isdir(target) else target, found)  # noqa: PTH112
    else:
        _file_out(client, source, path, target, name)


def _directory_out(client: Client, source: Place, path: str, into: str, found: Found) -> None:
    if os.path.lexists(into) and not os.path.isdir(into):  # noqa: PTH112
        raise Failure("cannot copy directory")
    if not os.path.isdir(into):  # noqa: PTH112
        _check_parent(into)
        os.mkdir(into)  # noqa: PTH102
        os.chmod(into, found.permissions)  # noqa: PTH101
    query = {"path": path if _contents(path) else path.rstrip("/") + "/."}
    _unpack(client, source, query, into, None)


def _file_out(client: Client, source: Place, path: str, target: str, name: str) -> None:
    if os.path.isdir(target):  # noqa: PTH112
        _unpack(client, source, {"path": path}, target, name)
        return
    if target.endswith("/"):
        raise Failure("no such directory")
    _check_parent(target)
    _unpack(client, source, {"path": path}, os.path.dirname(target) or ".", os.path.basename(target))  # noqa: PTH119, PTH120


def _check_parent(path: str) -> None:
    parent = os.path.dirname(path.rstrip("/")) or "."  # noqa: PTH120
    if not os.path.isdir(parent):  # noqa: PTH112
        raise Failure(f'invalid output path: directory "{parent}" does not exist')


def _unpack(client: Client, source: Place, query: Mapping[str, object], into: str, name: str | None) -> None:
    from io import BufferedReader, RawIOBase

    from sampan.errors import SampanError
    from sampan.images.unpack_into import unpack_into

    response = client.request("GET", source.url, query)

    class Body(RawIOBase):
        """The answer as a file."""

        pieces = response.pieces()
        rest = memoryview(b"")

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            self.rest = self.rest or memoryview(next(self.pieces, b""))
            count = min(len(buffer), len(self.rest))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
            return count

    directory = os.open(into, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        owner = (os.geteuid(), os.getegid())
        only = None if name is None else os.fsencode(name)
        unpack_into(BufferedReader(Body(), 1 << 18), directory, keep_kinds=True, owner=owner, only=only)
    except SampanError as error:
        raise Failure(error.message) from None
    finally:
        os.close(directory)


# ── into a container ───────────────────────────────────────────────────────────────────────────────────────────────


def _in(client: Client, source: str, target: Place, *, follow: bool, as_user: bool) -> None:
    path = target.path
    found = _look(client, target, path)
    if found and found.link:
        path = found.link
        found = _look(client, target, path)
    query = {"path": path, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if as_user else None}
    if source == "-":
        if found and not found.directory:
            raise Failure(f'destination "{target.container}:{target.path}" must be a directory')
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
            client.send_file("PUT", target.url, query, stdin, _TAR).body()
        return
    status = _status(source, follow=follow)
    name = "." if _contents(source) else _base(os.path.abspath(source))  # noqa: PTH100
    if found is None or not found.directory:
        if found and stat.S_ISDIR(status.st_mode):
            raise Failure("cannot copy directory")
        if found is None and path.endswith("/") and not stat.S_ISDIR(status.st_mode):
            raise Failure("no such directory")
        query["path"], _, name = path.rstrip("/").rpartition("/")
        query["path"] = query["path"] or "/"
    _send(client, target, query, _packer(source, name, status, follow=follow))


def _status(path: str, *, follow: bool) -> os.stat_result:
    try:
        return os.stat(path) if follow or path.endswith(("/", "/.")) else os.lstat(path)  # noqa: PTH116
    except OSError as error:
        raise Failure(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _packer(source: str, name: str, status: os.stat_result, *, follow: bool) -> Callable[[BinaryIO], None]:
    from sampan.images import pack

    if stat.S_ISDIR(status.st_mode):
        opened = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return lambda out: pack.pack_directory(opened, os.fsencode(name), out)
    real = os.path.realpath(source) if follow else source
    above = os.open(os.path.dirname(real) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    inner = os.fsencode(os.path.basename(real))  # noqa: PTH119
    return lambda out: pack.pack_file(above, inner, out, os.fsencode(name))


def _send(client: Client, target: Place, query: dict[str, str | None], write: Callable[[BinaryIO], None]) -> None:
    """The archive is made in a thread, and sent while it is made."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # it is only faster
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    failures: list[Exception] = []

    def work() -> None:
        try:
            with open(writing, "wb", buffering=1 << 18) as out:  # noqa: PTH123
                write(out)
        except BrokenPipeError:
            return  # the daemon has said why
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with open(reading, "rb", buffering=0) as body:  # noqa: PTH123
        response = client.send_file("PUT", target.url, query, body, _TAR)
    response.body()
    thread.join()
    if failures:
        raise Failure(f"what was sent is not complete: {failures[0]}")


def _contents(path: str) -> bool:
    return path.endswith("/.") or path == "."


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or "/"

"""A registry of the tests' own, which does what it is told: stall, lie, break off, ask for tokens."""

from __future__ import annotations

import base64
import ctypes
import gzip
import hashlib
import io
import json
import os
import re
import socket
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.engine import Engine

OCI = "application/vnd.oci.image."
CLONE_NEWNET = 0x40000000

Handler = Callable[["Request"], bool | None]
"""Answers a request itself, or returns False to have it answered as usual."""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(name: str = "cargo", size: int = 1000, content: bytes = b"") -> bytes:
    """A tar of one file, of random bytes unless something is to be in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = content or os.urandom(size)
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


class Wild:
    """``with Wild(engine) as registry`` serves at ``registry.address`` in the engine's network namespace.

    ``tokens``: requests need a token, which it gives itself, to ``captain`` with the password ``secret`` for pushing,
    and to anybody for pulling.
    """

    def __init__(self, engine: Engine, port: int = 5100, *, tokens: bool = False, host: str = "127.0.0.1") -> None:
        self.address = f"{host}:{port}"
        self.tokens = tokens
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.served: Counter[str] = Counter()  # bytes, by digest
        self.received: Counter[str] = Counter()  # bytes of uploads, by repository
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.given: list[str] = []  # tokens
        self.proxied: list[str] = []  # URLs
        self._handlers: list[tuple[re.Pattern[str], Handler]] = []
        self._listener = _listener(engine.net.inside, host, port)
        registry = self

        class Bound(Request):
            wild = registry

        self._server = _Server((host, port), Bound, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = self._listener
        self._server.daemon_threads = True

    def __enter__(self) -> Wild:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def name(self, path: str) -> str:
        return f"{self.address}/{path}"

    # ── what it has ────────────────────────────────────────────────────────────────────────────────────────────

    def image(self, *layers: bytes, tag: str = "1", compressed: bool = False, **config: Any) -> dict[str, Any]:
        """Put an image under ``a:TAG``; returns its manifest, which may be changed and put anew."""
        kept = [gzip.compress(each, 1, mtime=0) if compressed else each for each in layers]
        rootfs = {"type": "layers", "diff_ids": [digest_of(each) for each in layers]}
        document = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, **config}
        kind = OCI + "layer.v1.tar" + ("+gzip" if compressed else "")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": self.blob(json.dumps(document).encode(), OCI + "config.v1+json"),
            "layers": [self.blob(each, kind) for each in kept],
        }
        self.put(manifest, tag)
        return manifest

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    def put(self, manifest: dict[str, Any], tag: str = "1", kind: str = "") -> dict[str, Any]:
        """Put a document under a tag and its digest; returns a descriptor of it."""
        data = json.dumps(manifest).encode()
        kind = kind or manifest["mediaType"]
        self.manifests[tag] = self.manifests[digest_of(data)] = (kind, data)
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    # ── what it does ───────────────────────────────────────────────────────────────────────────────────────────

    def on(self, pattern: str, handler: Handler) -> None:
        """``pattern`` is searched for in ``METHOD /path?query``. The last one that was said comes first."""
        self._handlers.insert(0, (re.compile(pattern), handler))

    def forget(self) -> None:
        """Have nothing, and :meth:`behave`."""
        self.behave()
        for known in (self.blobs, self.manifests, self.uploads):
            known.clear()

    def behave(self) -> None:
        """Forget all that was told by ``on``, and what was counted."""
        self._handlers.clear()
        self.served.clear()
        self.received.clear()
        self.asked.clear()

    def handler(self, what: str) -> list[Handler]:
        return [handler for pattern, handler in self._handlers if pattern.search(what)]


class Request(BaseHTTPRequestHandler):
    """One connection of a client's."""

    wild: Wild
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path.startswith("http://"):  # it serves as a proxy, too
            self.wild.proxied.append(self.path)
            self.path = "/" + self.path.split("/", 3)[3]
        what = f"{self.command} {self.path}"
        self.wild.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        try:
            for handler in self.wild.handler(what):
                if handler(self) is not False:
                    return
            if self.path.startswith("/token"):
                self._token()
            elif self.wild.tokens and not self._may():
                self.challenge()
            else:
                self._usual()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    # ── answers ────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Keys of ``headers`` are written with ``_`` for ``-``."""
        self.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **names}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, status: int, value: Any, **headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def error(self, status: int, code: str, message: str = "", **headers: str) -> None:
        self.json(status, {"errors": [{"code": code, "message": message or code.lower()}]}, **headers)

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def blob_until(self, count: int, then: Callable[[], object], pause: float = 0.0) -> None:
        """The first bytes of the blob that is asked for, from where it is asked for, and then something else.
        ``pause``: seconds after each 64 KiB."""
        data, start = self._blob()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        for at in range(start, min(len(data), start + count), 65536):
            piece = data[at : min(at + 65536, start + count)]
            self.wfile.write(piece)
            self.wild.served[digest_of(data)] += len(piece)
            time.sleep(pause)
        self.wfile.flush()
        then()

    # ── the usual ──────────────────────────────────────────────────────────────────────────────────────────────

    def _usual(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v2/":
            self.json(200, {})
        elif "/blobs/uploads/" in path:
            self._upload(path)
        elif "/blobs/" in path:
            self._send_blob()
        elif "/manifests/" in path:
            self._manifest(path.rpartition("/")[2])
        elif path.endswith("/tags/list"):
            self.json(200, {"tags": [tag for tag in self.wild.manifests if ":" not in tag]})
        else:
            self.answer(404)

    def _blob(self) -> tuple[bytes, int]:
        data = self.wild.blobs[self.path.rpartition("/")[2]]
        start = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        return data, int(start[1]) if start else 0

    def _send_blob(self) -> None:
        digest = self.path.rpartition("/")[2]
        if digest not in self.wild.blobs:
            self.error(404, "BLOB_UNKNOWN")
        elif self.command == "HEAD":
            self.answer(200, Content_Length=str(len(self.wild.blobs[digest])))
        else:
            self.blob_until(1 << 40, lambda: None)

    def _manifest(self, reference: str) -> None:
        if self.command == "PUT":
            data = self.rfile.read(int(self.headers["Content-Length"]))
            self.wild.manifests[reference] = self.wild.manifests[digest_of(data)] = (self.headers["Content-Type"], data)
            self.answer(201, Docker_Content_Digest=digest_of(data))
        elif reference in self.wild.manifests:
            kind, data = self.wild.manifests[reference]
            self.answer(200, data, Content_Type=kind, Docker_Content_Digest=digest_of(data))
        else:
            self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _upload(self, path: str) -> None:
        ident = path.rpartition("/")[2]
        if self.command == "POST":
            ident = os.urandom(8).hex()
            self.wild.uploads[ident] = bytearray()
            self.answer(202, Location=f"{path}{ident}?state=a%2Fb", Range="0-0")
            return
        kept = self.wild.uploads.get(ident)
        if kept is None:
            self.error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        self.take(kept, path)
        where = {"Location": f"{path}?state=a%2Fb", "Range": f"0-{max(0, len(kept) - 1)}"}
        if self.command == "PUT":
            digest = parse_qs(urlsplit(self.path).query)["digest"][0]
            if digest_of(kept) != digest:
                self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                return
            self.wild.blobs[digest] = bytes(kept)
            self.answer(201, Docker_Content_Digest=digest)
        else:
            self.answer(204 if self.command in ("GET", "DELETE") else 202, **where)

    def take(self, kept: bytearray, path: str, most: int = 1 << 40) -> None:
        """The request's body, or its first bytes."""
        left = min(most, int(self.headers.get("Content-Length", 0)))
        while left and (data := self.rfile.read1(min(left, 65536))):  # type: ignore[attr-defined]
            kept += data
            left -= len(data)
            self.wild.received[path.split("/blobs/")[0].removeprefix("/v2/")] += len(data)

    # ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _may(self) -> bool:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return kind == "Bearer" and token in self.wild.given

    def challenge(self) -> None:
        realm = f'Bearer realm="http://{self.wild.address}/token",service="wild",scope="repository:a:pull"'
        self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=realm)

    def _token(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = form["refresh_token"] == ["of-the-captain"]
            scopes = form.get("scope", [""])[0].split()
        else:
            kind, _, text = self.headers.get("Authorization", "").partition(" ")
            known = kind == "Basic" and base64.b64decode(text) == b"captain:secret"
            if text and not known:
                self.error(401, "UNAUTHORIZED", "incorrect username or password")
                return
            scopes = query.get("scope", [])
        if not known and any(scope.endswith("push") for scope in scopes):
            self.error(403, "DENIED", "requested access to the resource is denied")
            return
        token = f"token-{len(self.wild.given)}-{','.join(scopes)}".replace(" ", "")
        self.wild.given.append(token)
        offline = {"refresh_token": "of-the-captain"} if known and "offline_token" in query else {}
        self.json(200, {"token": token, "expires_in": 300, **offline})


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients break off all the time; whatever else goes wrong shows in the test."""


def _listener(namespace: Path, host: str, port: int) -> socket.socket:
    """A listening socket in a network namespace: made by a thread that has gone there, and does not come back."""
    made: list[socket.socket | BaseException] = []

    def make() -> None:
        try:
            with namespace.open() as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(64)
            made.append(sock)
        except BaseException as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    [result] = made
    if isinstance(result, BaseException):
        raise result
    return result

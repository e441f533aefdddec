"""Debian's docker-registry, the real one, beside an engine under test."""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import Any

import yaml

from harness.engine import Engine, Result


class Registry:
    """``with Registry(engine) as registry:`` serves at ``registry.address`` in the engine's network namespace.

    ``user`` (``"name:password"``) makes it ask for that, ``tls`` gives it a certificate, whose authority is
    ``registry.authority``. ``host`` is what it is called and where it listens: an address of the namespace.
    """

    def __init__(
        self, engine: Engine, *, host: str = "127.0.0.1", port: int = 5000, user: str = "", tls: bool = False
    ) -> None:
        self.engine = engine
        self.address = f"{host}:{port}"
        self.root = engine.root / f"registry-{port}"
        self.authority = self.root / "ca.crt"
        self._host, self._port = host, port
        self._user, self._tls = user, tls
        self._process: subprocess.Popen[bytes] | None = None

    def name(self, path: str) -> str:
        return f"{self.address}/{path}"

    def __enter__(self) -> Registry:
        self.root.mkdir(exist_ok=True)
        config = self.root / "config.yml"
        config.write_text(yaml.safe_dump(self._configuration()))
        with (self.root / "log").open("ab") as log:
            self._process = self.engine.popen("docker-registry", "serve", config, stdout=log, stderr=log)
        self.engine.wait_until(self._listens, "the registry listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    # ── what it has, and what it was asked ─────────────────────────────────────────────────────────────────────

    def copy(self, source: str, path: str, *options: str) -> Result:
        """Put an image into it with skopeo, which is none of ours."""
        trust = ["--dest-tls-verify=false"]
        user = ["--dest-creds", self._user] if self._user else []
        policy = ["--insecure-policy", "copy", "--quiet"]
        return self.engine.run("skopeo", *policy, *trust, *user, *options, source, f"docker://{self.name(path)}").ok()

    def manifest(self, path: str, reference: str = "latest") -> tuple[dict[str, Any], str]:
        """As it keeps it: the document and its digest."""
        accept = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]
        words = [word for each in accept for word in ("-H", f"Accept: {each}")]
        told = self.engine.run(
            "curl", "-sSk", "-D-", *words, *self._curl(), f"{self.url}/v2/{path}/manifests/{reference}"
        ).out
        head, _, body = told.replace("\r\n", "\n").partition("\n\n")
        [digest] = [line.split()[1] for line in head.splitlines() if line.lower().startswith("docker-content-digest")]
        return json.loads(body), digest

    def requests(self, method: str, part: str = "") -> list[dict[str, Any]]:
        """What was asked of it so far: an entry of its log for each answer."""
        found = []
        for line in (self.root / "log").read_text().splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("http.request.method") == method and part in entry.get("http.request.uri", ""):
                    found += [entry] if entry.get("msg") == "response completed" else []
        return found

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}"

    def _curl(self) -> list[str]:
        return ["-u", self._user] if self._user else []

    def _configuration(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.address, "secret": "of-a-test"}
        tree: dict[str, Any] = {
            "version": 0.1,
            "log": {"formatter": "json", "level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.root / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        if self._tls:
            self._certify()
            http["tls"] = {"certificate": str(self.root / "server.crt"), "key": str(self.root / "server.key")}
        if self._user:
            (self.root / "htpasswd").write_text(self._password_file())
            tree["auth"] = {"htpasswd": {"realm": "of a test", "path": str(self.root / "htpasswd")}}
        return tree

    def _password_file(self) -> str:
        name, _, password = self._user.partition(":")
        return _run("htpasswd", "-Bbn", "-C", "4", name, password)

    def _certify(self) -> None:
        """An authority of the test's own, and a certificate of its for the address."""
        root, kind = self.root, ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
        _run(
            "openssl",
            "req",
            "-x509",
            *kind,
            "-keyout",
            root / "ca.key",
            "-out",
            self.authority,
            "-subj",
            "/CN=a test's authority",
        )
        _run(
            "openssl",
            "req",
            *kind[:3],
            "-keyout",
            root / "server.key",
            "-out",
            root / "server.csr",
            "-subj",
            "/CN=a registry",
        )
        (root / "names").write_text(f"subjectAltName=IP:{self._host}\n")
        signed = ["-CA", self.authority, "-CAkey", root / "ca.key", "-CAcreateserial", "-days", "2"]
        _run(
            "openssl",
            "x509",
            "-req",
            "-in",
            root / "server.csr",
            *signed,
            "-extfile",
            root / "names",
            "-out",
            root / "server.crt",
        )

    def _listens(self) -> bool:
        return self.engine.run("curl", "-sk", "-o", "/dev/null", f"{self.url}/v2/").code == 0


def _run(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout

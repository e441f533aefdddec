"""Who we are to registries: Docker's configuration file and its helpers, so that whoever logged in there is known here.

https://docs.docker.com/reference/cli/docker/login/#credential-stores
"""

from __future__ import annotations

import os

from sampan.cli import wire
from sampan.cli.failures import Failure
from sampan.cli.output import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"
"""What Docker Hub is called in the file."""
PATIENCE = 120.0  # seconds that a helper gets: it may ask a person


def registry_of(reference: str) -> str:
    """The registry of an image's name, as it is called in the file."""
    first, slash, _ = reference.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    return called(first) if slash and is_host else HUB


def called(server: str) -> str:
    """What a person types, as it is called in the file."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return HUB if host in ("", "docker.io", "index.docker.io", "registry-1.docker.io") else host


def header(registry: str) -> dict[str, str]:
    """``X-Registry-Auth`` with what is known, for one request. What a helper fails to tell is not known: docker goes on
    without it, too, and many a configuration names a helper that is not there."""
    try:
        found = find(registry)
    except Failure as failure:
        tell(f"WARNING: {failure.message}")
        return {}
    return {"X-Registry-Auth": _base64(wire.dumps(found).encode(), url=True)} if found else {}


def find(registry: str) -> dict[str, str]:
    """Name and password, or a token, for a registry: an ``AuthConfig`` of the Engine API; empty if none are known."""
    settings = _read()
    if helper := _helper(settings, registry):
        return _of_helper(helper, registry)
    known = settings.get("auths") or {}
    for name, entry in known.items():
        if isinstance(entry, dict) and (name == registry or called(name) == registry):
            return _of_entry(entry, registry)
    return {}


def keep(registry: str, username: str, secret: str, *, token: bool = False) -> str:
    """Remember what a login has shown to be right; returns where."""
    settings = _read()
    if helper := _helper(settings, registry):
        stored = {"ServerURL": registry, "Username": "<token>" if token else username, "Secret": secret}
        _ask(helper, "store", wire.dumps(stored))
        return f"the credential helper {helper}"
    auth = _base64(f"{username}:{'' if token else secret}".encode())
    entry = {"auth": auth, **({"identitytoken": secret} if token else {})}
    settings["auths"] = {**(settings.get("auths") or {}), registry: entry}
    _write(settings)
    return path()


def forget(registry: str) -> bool:
    """False if nothing was known."""
    settings = _read()
    if helper := _helper(settings, registry):
        known = bool(_of_helper(helper, registry))
        if known:
            _ask(helper, "erase", registry)
        return known
    auths = settings.get("auths") or {}
    mine = [name for name in auths if name == registry or called(name) == registry]
    if mine:
        settings["auths"] = {name: entry for name, entry in auths.items() if name not in mine}
        _write(settings)
    return bool(mine)


def path() -> str:
    directory = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118
    return os.path.join(directory, "config.json")  # noqa: PTH118


def _of_entry(entry: dict[str, Any], registry: str) -> dict[str, str]:
    found = {"username": str(entry.get("username") or ""), "password": str(entry.get("password") or "")}
    if entry.get("auth"):
        import binascii

        try:
            text = binascii.a2b_base64(str(entry["auth"]), strict_mode=True).decode()
        except ValueError:
            raise Failure(f"{path()} is damaged: the credentials for {registry} are not base64") from None
        found["username"], _, found["password"] = text.rstrip("\0").partition(":")
    for name in ("identitytoken", "registrytoken"):
        if entry.get(name):
            found[name] = str(entry[name])
    return {**found, "serveraddress": registry} if any(found.values()) else {}


def _helper(settings: dict[str, Any], registry: str) -> str:
    helpers = settings.get("credHelpers") or {}
    return str(helpers.get(registry) or settings.get("credsStore") or "")


def _of_helper(helper: str, registry: str) -> dict[str, str]:
    told = _ask(helper, "get", registry)
    if not told:
        return {}
    try:
        found = wire.loads(told)
        name, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, TypeError, KeyError):
        raise Failure(f"docker-credential-{helper} does not answer as a credential helper does") from None
    if name == "<token>":
        return {"identitytoken": secret, "serveraddress": registry}
    return {"username": name, "password": secret, "serveraddress": registry}


def _ask(helper: str, verb: str, text: str) -> str:
    """What a helper answers; nothing if it knows nothing."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, verb], input=text.encode(), capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise Failure(f'error getting credentials: "{program}": executable file not found in $PATH') from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{program} has not answered for {PATIENCE:g} seconds") from None
    told = done.stdout.decode(errors="replace").strip()
    if done.returncode and "credentials not found" in told:
        return ""
    if done.returncode:
        raise Failure(f"error getting credentials: {told or done.stderr.decode(errors='replace').strip()} ({program})")
    return told


def _read() -> dict[str, Any]:
    try:
        with open(path(), encoding="utf-8") as file:  # noqa: PTH123
            found = wire.loads(file.read() or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as why:
        raise Failure(f"{path()} cannot be read: {getattr(why, 'strerror', None) or 'it is not JSON'}") from None
    if not isinstance(found, dict):
        raise Failure(f"{path()} cannot be read: it is not a JSON object")
    return found


def _write(settings: dict[str, Any]) -> None:
    """All of it or nothing, and for nobody else to read."""
    import json

    target = os.path.realpath(path())  # a link stays one
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    part = f"{target}.part-{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(settings, indent="\t"))
        os.replace(part, target)  # noqa: PTH105
    except BaseException:
        os.unlink(part)  # noqa: PTH108
        raise


def _base64(data: bytes, *, url: bool = False) -> str:
    import binascii

    text = binascii.b2a_base64(data, newline=False).decode()
    return text.replace("+", "-").replace("/", "_") if url else text

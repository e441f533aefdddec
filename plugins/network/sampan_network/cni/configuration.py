"""A network's configuration: a list of plugins (CNI specification, section 1), from a file or from an option."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sampan.errors import Invalid, NotFound

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LARGEST = 1 << 20  # bytes in a configuration
_MANY = 32  # plugins in a list
_ENDINGS = (".conflist", ".conf", ".json")


class Configuration(msgspec.Struct, frozen=True):
    """``name`` is the network's name for its plugins; ``plugins`` are the configurations of each, as written."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]

    def request(self, number: int, runtime: Mapping[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the plugin of that number reads (section 4, "Deriving execution configuration").

        ``runtime`` are the arguments of capabilities, of which it gets those that it has.
        """
        body = {key: value for key, value in self.plugins[number].items() if key != "capabilities"}
        body |= {"name": self.name, "cniVersion": self.version}
        able = {key: value for key, value in runtime.items() if self.capable(number, key)}
        body |= {"runtimeConfig": able} if able else {}
        if ips := runtime.get("ips"):  # the convention for address managers: https://www.cni.dev/docs/conventions/
            given = body.get("args")
            args: dict[str, Any] = given if isinstance(given, dict) else {}
            cni = args.get("cni")
            body["args"] = {**args, "cni": {**(cni if isinstance(cni, dict) else {}), "ips": ips}}
        return body | ({"prevResult": dict(previous)} if previous is not None else {})

    def capable(self, number: int, capability: str) -> bool:
        return self.plugins[number].get("capabilities", {}).get(capability) is True

    def able(self, capability: str) -> list[int]:
        """The numbers of the plugins with the capability."""
        return [number for number in range(len(self.plugins)) if self.capable(number, capability)]


def parse(text: str | bytes, where: str, *, name: str = "") -> Configuration:
    """A list of plugins, or the configuration of a single one; ``name`` is for those that have none."""
    if len(text) > _LARGEST:
        raise Invalid(f"{where} is too large: {_LARGEST >> 20} MiB are allowed")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Invalid(f"{where} must be a JSON object: a list of plugins, or the configuration of one")
    version, called = body.get("cniVersion", "1.0.0"), body.get("name", name)
    if version not in VERSIONS:
        raise Invalid(f"{where} has the cniVersion {version!r}: {', '.join(VERSIONS)} are known")
    if not isinstance(called, str) or not _NAME.fullmatch(called):
        raise Invalid(
            f"{where} has the name {called!r}: letters, digits and '_.-' are allowed, a letter or digit first"
        )
    plugins = body.get("plugins", [body])
    if not isinstance(plugins, list) or not 1 <= len(plugins) <= _MANY:
        raise Invalid(f"{where} must have between 1 and {_MANY} plugins")
    return Configuration(called, version, tuple(_plugin(one, where) for one in plugins))


def find(directory: Path, name: str) -> Configuration:
    """The configuration of that name, of all files in the directory; the first in the order of their names."""
    for path in _files(directory):
        try:
            found = parse(path.read_bytes(), str(path))
        except (OSError, Invalid):
            continue  # somebody else's, and no concern of this network's
        if found.name == name:
            return found
    raise NotFound(f"there is no CNI network configuration with the name {name!r} in {directory}")


def _files(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in directory.iterdir() if path.suffix in _ENDINGS and path.is_file())
    except OSError as error:
        raise NotFound(f"the directory of CNI network configurations cannot be read: {error}") from None


def _plugin(body: object, where: str) -> dict[str, Any]:
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise Invalid(f"{where} has a plugin without a type: the name of a program is needed")
    if not _NAME.fullmatch(body["type"]):
        raise Invalid(f"{where} has the plugin type {body['type']!r}: the name of a program is needed, not a path")
    capabilities = body.get("capabilities", {})
    if not isinstance(capabilities, dict) or not all(isinstance(value, bool) for value in capabilities.values()):
        raise Invalid(f"{where} has a plugin {body['type']!r} whose capabilities are not a mapping to true or false")
    return body

"""``--change``: a few Dockerfile instructions applied to an image's configuration, for import and commit.

The instructions and their forms: https://docs.docker.com/reference/dockerfile. The configuration's keys: OCI image
specification, config.md, with Docker's ``Healthcheck``, ``OnBuild`` and ``Shell``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any

from sampan.errors import Invalid
from sampan.images import expansion

Config = dict[str, Any]

SHELL = ["/bin/sh", "-c"]
_NEEDS = {"USER": "exactly one argument", "WORKDIR": "exactly one argument", "STOPSIGNAL": "exactly one argument"}
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def apply(config: Config, changes: list[str]) -> Config:
    """A copy of the ``config`` object of an image with the instructions applied in order.

    ``Invalid`` names an instruction that is unknown, not allowed here, or malformed.
    """
    changed = json.loads(json.dumps(config))
    said: set[str] = set()
    for change in changes:
        for line in re.sub(r"\\\n", "", change).splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                try:
                    _one(changed, line.strip(), said)
                except RecursionError:
                    raise Invalid(f'"{line[:80]}" goes too deep into itself') from None
    return dict(changed)


def _one(config: Config, line: str, said: set[str]) -> None:
    word, *more = line.split(maxsplit=1)
    name, rest = word.upper(), "".join(more)
    instruction = _INSTRUCTIONS.get(name)
    if instruction is None:
        known = ", ".join(sorted(_INSTRUCTIONS))
        raise Invalid(f'{word.lower()} is not a valid change command: "{line}" must begin with one of {known}')
    if not rest and name not in ("CMD", "ENTRYPOINT"):
        raise Invalid(f"{name} requires {_NEEDS.get(name, 'at least one argument')}")
    instruction(config, rest)
    if name == "ENTRYPOINT" and "CMD" not in said:  # another program's arguments
        config.pop("Cmd", None)
    said.add(name)


def _variables(config: Config) -> dict[str, str]:
    """What ``$NAME`` means at this point."""
    return dict(each.split("=", 1) for each in config.get("Env") or [] if "=" in each)


def _array(text: str) -> list[str] | None:
    """The JSON form of an instruction, or None if it is the shell form."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(each, str) for each in value):
        raise Invalid(f"when using JSON array syntax, arrays must be comprised of strings only: {text}")
    return value


def _command(config: Config, text: str) -> list[str]:
    array = _array(text) if text else []
    return array if array is not None else [*(config.get("Shell") or SHELL), text]


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(config, text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(config, text)


def _shell(config: Config, text: str) -> None:
    array = _array(text)
    if not array:
        raise Invalid(f'SHELL requires the JSON form: SHELL ["/bin/sh", "-c"], not "{text}"')
    config["Shell"] = array


def _pairs(config: Config, text: str, instruction: str) -> list[tuple[str, str]]:
    """``a=1 b="2 3"``, or the old form ``a everything else``."""
    variables = _variables(config)
    words = expansion.words(text, variables)
    if "=" not in words[0]:
        if len(words) == 1:
            raise Invalid(f'{instruction} must have two arguments: {instruction} NAME=VALUE, not "{text}"')
        return [(words[0], expansion.word(text.split(maxsplit=1)[1], variables))]
    pairs = []
    for each in words:
        name, equals, value = each.partition("=")
        if not equals:
            raise Invalid(f'Syntax error - can\'t find = in "{each}". Must be of the form: name=value')
        if not name:
            raise Invalid(f"{instruction} names can not be blank: {instruction} {text}")
        pairs.append((name, value))
    return pairs


def _env(config: Config, text: str) -> None:
    environment = list(config.get("Env") or [])
    for name, value in _pairs(config, text, "ENV"):
        kept = [each for each in environment if each.partition("=")[0] != name]
        at = len(kept) if len(kept) == len(environment) else _index(environment, name)
        environment = [*kept[:at], f"{name}={value}", *kept[at:]]
    config["Env"] = environment


def _index(environment: list[str], name: str) -> int:
    return next(index for index, each in enumerate(environment) if each.partition("=")[0] == name)


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(config, text, "LABEL"))}


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in expansion.word(text, _variables(config)).split():
        match = _PORT.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last <= 65535:
            raise Invalid(f"invalid containerPort: {word}: EXPOSE takes PORT[-PORT][/tcp|udp|sctp]")
        protocol = (match[3] or "tcp").lower()
        ports.update({f"{port}/{protocol}": {} for port in range(first, last + 1)})
    config["ExposedPorts"] = ports


def _user(config: Config, text: str) -> None:
    config["User"] = expansion.word(text, _variables(config))


def _workdir(config: Config, text: str) -> None:
    path = expansion.word(text, _variables(config))
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "/", path))


def _volume(config: Config, text: str) -> None:
    paths = _array(text)
    variables = _variables(config)
    paths = expansion.words(text, variables) if paths is None else [expansion.word(path, variables) for path in paths]
    if any(not path.strip() for path in paths):
        raise Invalid("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _stop_signal(config: Config, text: str) -> None:
    config["StopSignal"] = expansion.word(text, _variables(config))


def _on_build(config: Config, text: str) -> None:
    trigger = text.partition(" ")[0].upper()
    if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Invalid(f"{trigger} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


_HEALTH_FLAGS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


def _healthcheck(config: Config, text: str) -> None:
    health: dict[str, Any] = {}
    rest = text
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, equals, value = flag[2:].partition("=")
        if not equals or name not in _HEALTH_FLAGS:
            raise Invalid(
                f"Unknown flag: {flag}: HEALTHCHECK takes {', '.join(f'--{each}=' for each in _HEALTH_FLAGS)}"
            )
        health[_HEALTH_FLAGS[name]] = _retries(value) if name == "retries" else _interval(name, value)
        rest = rest.lstrip()
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE" and not command and not health:
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() == "NONE":
        raise Invalid("HEALTHCHECK NONE takes no arguments")
    if kind.upper() == "CMD" and not command.strip():
        raise Invalid("Missing command after HEALTHCHECK CMD")
    if kind.upper() != "CMD":
        raise Invalid(f'Unknown type "{kind}" in HEALTHCHECK: it takes NONE, or [--flags] CMD COMMAND')
    array = _array(command.strip())
    config["Healthcheck"] = {"Test": ["CMD-SHELL", command.strip()] if array is None else ["CMD", *array], **health}


def _interval(name: str, text: str) -> int:
    found = duration(text)
    if 0 < found < _NANOSECONDS["ms"]:
        raise Invalid(f'Interval "{name}" cannot be less than 1ms: {text}')
    return found


def _retries(text: str) -> int:
    if not text.isdigit():
        raise Invalid(f"--retries must be a number, at least 0, not {text}")
    return int(text)


def duration(text: str) -> int:
    """Nanoseconds of a duration in Go's notation (``1m30s``). ``Invalid`` if it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Invalid(f'"{text}" is not a duration such as 30s or 1m30s')
    return int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

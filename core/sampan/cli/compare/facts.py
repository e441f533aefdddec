"""What a container's process has, as facts with names, and which of them differ between combinations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_INSTANCE = re.compile(r"\b(sampan-)[0-9a-f]{8}\b")
_SHORT = 12
NONE = "none"
ABSENT = "not there"


class Difference(NamedTuple):
    """``values``: each value with the combinations that have it."""

    fact: str
    values: list[tuple[str, list[str]]]


def flat(found: Mapping[str, Any], ident: str) -> dict[str, str]:
    """The daemon's account of a process (``/isolation``), without what is another one in each container."""
    spaces: Mapping[str, str] = found["Namespaces"]
    facts = {
        "namespaces, its own": _words(name for name, whose in spaces.items() if whose == "own"),
        "namespaces, the host's": _words(name for name, whose in spaces.items() if whose == "host"),
        "seccomp": f"{found['Seccomp']} ({found['SeccompFilters']})" if found["SeccompFilters"] else found["Seccomp"],
        "no new privileges": "yes" if found["NoNewPrivileges"] else "no",
        "user": f"{found['User']}, groups {' '.join(map(str, found['Groups'])) or NONE}",
        "user map": "; ".join(found["UserMap"]),
        "security label": found["Label"] or NONE,
        "OOM score": str(found["OomScoreAdjust"]),
        "interfaces": " ".join(found["Interfaces"]),
        "devices": " ".join(found["Devices"]),
        "watched by": " ".join(found["Helpers"]) or NONE,
    }
    for name, held in found["Capabilities"].items():
        facts[f"capabilities, {name.lower()}"] = _words(held)
    for controller, path in found["Cgroups"].items():
        facts[f"cgroup, {controller}"] = _same(path, ident)
    for mount in _topmost(found["Mounts"]):
        options = ",".join(mount["Options"])
        facts[f"mount, {mount['Target']}"] = f"{mount['Type']} {options}, {_same(mount['Propagation'], ident)}"
    for name, limit in found["Limits"].items():
        facts[f"limit, {name.removeprefix('Max ')}"] = limit
    return facts


def _topmost(mounts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of several at one place, what is seen."""
    return list({mount["Target"]: mount for mount in mounts}.values())


def _words(names: Any) -> str:
    return " ".join(sorted(names)) or NONE


def _same(text: str, ident: str) -> str:
    return _INSTANCE.sub(r"\1…", text.replace(ident, "ID").replace(ident[:_SHORT], "ID"))


def differences(by_name: Mapping[str, Mapping[str, str]]) -> list[Difference]:
    """What is not the same in all combinations, ``by_name``."""
    return [Difference(fact, values) for fact, values in _values(by_name) if len(values) > 1]


def alike(by_name: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What all have."""
    return {fact: values[0][0] for fact, values in _values(by_name) if len(values) == 1}


def _values(by_name: Mapping[str, Mapping[str, str]]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    found = []
    for fact in dict.fromkeys(fact for facts in by_name.values() for fact in facts):
        values: dict[str, list[str]] = {}
        for name, facts in by_name.items():
            values.setdefault(facts.get(fact, ABSENT), []).append(name)
        found.append((fact, list(values.items())))
    return found

"""What a container's process has, as facts with names, and which of them differ between combinations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.cli.compare.plan import FAMILIES, Combination, labels

_INSTANCE = re.compile(r"\b(sampan-)[0-9a-f]{8}(-\w+)?\b")
_SHORT = 12
NONE = "none"
ABSENT = "not there"


class Difference(NamedTuple):
    """``values``: each value with the names of who has it: of combinations, or, if it depends on nothing else, of the
    drivers of one ``family``."""

    fact: str
    family: str
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
    facts["cgroups"] = _grouped({name: _same(path, ident) for name, path in found["Cgroups"].items()})
    mounts = _topmost(found["Mounts"])
    facts["mounts, propagation"] = _grouped({mount["Target"]: mount["Propagation"] for mount in mounts})
    for mount in mounts:
        facts[f"mount, {mount['Target']}"] = f"{mount['Type']} {','.join(mount['Options'])}"
    for name, limit in found["Limits"].items():
        facts[f"limit, {name.removeprefix('Max ')}"] = limit
    return facts


def _topmost(mounts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of several at one place, what is seen."""
    return list({mount["Target"]: mount for mount in mounts}.values())


def _grouped(values: Mapping[str, str]) -> str:
    """``VALUE: NAME NAME; VALUE: NAME``; only the value if all have the same."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    if len(groups) == 1:
        return f"all {next(iter(groups))}"
    return "; ".join(f"{value}: {_words(names)}" for value, names in sorted(groups.items()))


def _words(names: Any) -> str:
    return " ".join(sorted(names)) or NONE


def _same(text: str, ident: str) -> str:
    return _INSTANCE.sub(r"\1…", text.replace(ident, "ID").replace(ident[:_SHORT], "ID"))


def differences(known: Mapping[Combination, Mapping[str, str]]) -> list[Difference]:
    """What is not the same in all combinations."""
    names = labels(list(known))
    return _merged(_difference(fact, values, names) for fact, values in _values(known) if len(values) > 1)


def _merged(found: Iterable[Difference]) -> list[Difference]:
    """Mounts, limits and so on that differ in the same way are one difference."""
    groups: dict[str, list[Difference]] = {}
    for each in found:
        noun, comma, _ = each.fact.partition(", ")
        groups.setdefault(f"{noun} {each.values}" if comma else each.fact, []).append(each)
    return [
        first._replace(fact=" ".join([first.fact, *(each.fact.partition(", ")[2] for each in rest)]))
        for first, *rest in groups.values()
    ]


def _difference(fact: str, values: Mapping[str, list[Combination]], names: Mapping[Combination, str]) -> Difference:
    for at, family in enumerate(FAMILIES):
        parts = {value: list(dict.fromkeys(each[at] for each in owners)) for value, owners in values.items()}
        if len({part for each in parts.values() for part in each}) == sum(map(len, parts.values())):
            return Difference(fact, family, list(parts.items()))
    return Difference(fact, "", [(value, [names[each] for each in owners]) for value, owners in values.items()])


def alike(known: Mapping[Combination, Mapping[str, str]]) -> dict[str, str]:
    """What all have."""
    return {fact: next(iter(values)) for fact, values in _values(known) if len(values) == 1}


def _values(known: Mapping[Combination, Mapping[str, str]]) -> list[tuple[str, dict[str, list[Combination]]]]:
    found = []
    for fact in dict.fromkeys(fact for facts in known.values() for fact in facts):
        values: dict[str, list[Combination]] = {}
        for combination, facts in known.items():
            values.setdefault(facts.get(fact, ABSENT), []).append(combination)
        found.append((fact, values))
    return found

"""config.yaml at the top of the repository is the manual: complete, true, and explained."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sampan import config, decode
from sampan.config import Config

FILE = Path(__file__).parents[3] / "config.yaml"
FAMILIES = ("storage", "network", "runtime")


def test_it_says_the_defaults() -> None:
    read = config.load(FILE)
    for family in FAMILIES:
        section = msgspec.structs.replace(getattr(read, family), options={})
        read = msgspec.structs.replace(read, **{family: section})
    assert read == Config()


def test_it_has_every_key() -> None:
    assert missing(yaml.safe_load(FILE.read_text()), Config) == []


def test_it_says_every_option_of_every_driver() -> None:
    options = {family: getattr(config.load(FILE), family).options for family in FAMILIES}
    for family in FAMILIES:
        for entry in entry_points(group=f"sampan.{family}"):
            if entry.dist is None or entry.dist.name != "sampan":
                continue
            kind = entry.load().Options
            said = options[family].get(entry.name, {})
            assert set(said) == {field.encode_name for field in msgspec.structs.fields(kind)}, entry.name
            assert decode.struct(said, kind) == kind(), entry.name


def test_every_key_is_explained() -> None:
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if not (key := re.match(r" *([a-z_]+):", line)):
            continue
        heading = not line.partition(":")[2].strip() and re.match(r"\s+#", lines[number + 1])
        above = lines[number - 1].strip()
        shares_the_comment = re.match(r" *[a-z_]+:", lines[number - 1])
        assert heading or above.startswith("#") or shares_the_comment, f"{key[1]} has no comment"


def test_every_key_is_read_by_someone() -> None:
    code = "\n".join(
        path.read_text() for path in (FILE.parent / "core" / "sampan").rglob("*.py") if path.name != "config.py"
    )
    unread = [key for key in keys(Config) if not re.search(rf"\.{key}\b", code)]
    assert unread == []


def keys(kind: type[msgspec.Struct]) -> list[str]:
    names = []
    for field in msgspec.structs.fields(kind):
        names.append(field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            names += keys(field.type)
    return names


def missing(said: dict[str, Any], kind: type[msgspec.Struct], path: str = "") -> list[str]:
    gaps = []
    for field in msgspec.structs.fields(kind):
        if field.name not in said:
            gaps.append(path + field.name)
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            gaps += missing(said[field.name], field.type, f"{path}{field.name}.")
    return gaps


@pytest.mark.parametrize("key", ["data_root", "network.publish_address"])
def test_the_gaps_would_be_seen(key: str) -> None:
    said = yaml.safe_load(FILE.read_text())
    *sections, last = key.split(".")
    part = said
    for section in sections:
        part = part[section]
    del part[last]
    assert missing(said, Config) == [key]

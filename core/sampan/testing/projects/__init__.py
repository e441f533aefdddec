"""A project for a new driver, which passes the kit before a line of it is changed: ``sampan drivers new``."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from sampan.errors import Conflict, Invalid

STAND_INS = {"storage": "vfs", "network": "an empty namespace", "runtime": "native"}
"""By family: what does the work until the author does it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def write(family: str, name: str, directory: Path) -> list[Path]:
    """Write the project into ``directory``, which is made and must not hold anything yet; returns its files.

    ``Invalid``: no family or no driver can be called so. ``Conflict``: there is something in the directory.
    """
    if family not in STAND_INS:
        raise Invalid(f"there are no {family!r} drivers: the families are {', '.join(STAND_INS)}")
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no name for a driver; expected lower-case letters, digits, '_.-'")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict(f"{directory} exists and is not an empty directory: name another one with --directory")
    words = {
        "family": family,
        "name": name,
        "package": f"sampan-{family}-{name}",
        "module": f"sampan_{family}_{re.sub('[-.]', '_', name)}",
        "kind": _class_name(name),
        "standin": STAND_INS[family],
    }
    contents = {
        "pyproject.toml": _text("pyproject.toml", words),
        "README.md": _text("README.md", words),
        f"src/{words['module']}/__init__.py": "",
        f"src/{words['module']}/driver.py": _text(f"{family}.py", words),
        f"tests/test_{words['module'].rpartition('sampan_')[2]}.py": _text(f"test_{family}.py", words),
    }
    for path, text in contents.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return [directory / path for path in contents]


def _class_name(name: str) -> str:
    made = "".join(part[:1].upper() + part[1:] for part in re.split("[-_.]", name))
    return made if made[0].isalpha() else f"Driver{made}"


def _text(template: str, words: dict[str, str]) -> str:
    return Template((files(__name__) / f"{template}.txt").read_text()).substitute(words)

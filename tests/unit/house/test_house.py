"""The rules of the house, as far as a machine can see them: sizes, names, and promises kept across rooms."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.api.failures import STATUS
from sampan.errors import KINDS, SampanError

ROOT = Path(__file__).parents[3]
SOURCES = [ROOT / "core", *sorted((ROOT / "plugins").iterdir())]
MODULES = sorted(path for source in SOURCES for path in source.rglob("*.py"))
MODULE_LINES = 500
FUNCTION_LINES = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_rooms_are_where_the_rules_look() -> None:
    assert {short(path) for path in MODULES} >= {"core/sampan/errors.py", "plugins/storage/sampan_storage/__init__.py"}


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_a_module_fits_on_a_few_screens_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    assert path.stem not in BANNED_NAMES
    assert path.parent.name not in BANNED_NAMES
    tree = ast.parse(text)
    assert not tree.body or ast.get_docstring(tree), "a module begins with what it is for"
    long = {name: length for name, length in functions(tree) if length > FUNCTION_LINES}
    assert not long, f"functions over {FUNCTION_LINES} lines"


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_two_test_modules_hide_each_other() -> None:
    assert "--import-mode=importlib" in (ROOT / "pyproject.toml").read_text()


def test_every_kind_of_error_has_a_status() -> None:
    subclasses = {kind for kind in SampanError.__subclasses__() if kind.__module__ == "sampan.errors"}
    assert set(KINDS.values()) == subclasses
    assert set(STATUS) == set(KINDS)


def test_every_dependency_is_explained_and_every_explanation_is_of_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [name for extra in project["optional-dependencies"].values() for name in extra]
    declared = {re.split(r"[^A-Za-z0-9-]", line)[0].lower() for line in [*project["dependencies"], *optional]}
    rows = re.findall(r"^\| `([A-Za-z0-9-]+)` \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert {name.lower() for name in rows} == declared - {"sampan"}


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "\n".join(path.read_text() for path in MODULES)
    for line in project["dependencies"]:
        name = {"PyYAML": "yaml"}.get(re.split(r"[^A-Za-z0-9-]", line)[0], re.split(r"[^A-Za-z0-9-]", line)[0])
        assert re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE), line


def test_every_rule_of_who_imports_whom_is_in_force() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rooms = {path.stem for path in (ROOT / "core" / "sampan").glob("[!_]*") if path.suffix in ("", ".py")}
    for contract in contracts:
        if contract["name"].startswith(("plugins import only", "the monitor imports only")):
            allowed = {"drivers", "linux", "errors", "types"} if "plugins" in contract["name"] else {"linux", "errors"}
            forbidden = {name.removeprefix("sampan.") for name in contract["forbidden_modules"]}
            assert rooms - forbidden - {"monitor"} <= allowed, contract["name"]


def test_no_path_of_a_developers_machine_has_slipped_in() -> None:
    suspicious = re.compile(r"(?<![\w.])/(work|home|root|Users)/\w+/\w+")
    for path in [*MODULES, ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        assert not suspicious.search(path.read_text()), short(path)

"""The reference in docs is what the docstrings say."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MADE: dict[str, str] = runpy.run_path(str(ROOT / "tools" / "reference.py"))["pages"]()
CONTRACTS = ("storage", "network", "runtime", "hooks")


@pytest.mark.parametrize("name", MADE)
def test_each_page_is_up_to_date(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.is_file(), f"{name} is missing: make docs"
    assert page.read_text() == MADE[name], f"{name} is not what the docstrings say: make docs"


def test_no_page_is_left_of_what_is_gone() -> None:
    assert {path.name for path in (ROOT / "docs" / "reference").iterdir()} == set(MADE)


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_promise_of_a_contract_is_in_it_and_explained(name: str) -> None:
    tree = ast.parse((ROOT / "core" / "sampan" / "drivers" / f"{name}.py").read_text())
    methods = [
        each
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    ]
    assert methods
    for method in methods:
        assert ast.get_docstring(method), f"{name}.{method.name} promises nothing"
        assert f"### `{method.name}`" in MADE[f"{name}.md"]


@pytest.mark.parametrize("name", MADE)
def test_pages_are_markdown_not_restructured_text(name: str) -> None:
    prose = re.sub(r"```.*?```", "", MADE[name], flags=re.DOTALL)
    assert not re.search(r":(class|data|func|meth|mod):`|``[^`]", prose)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert (ROOT / "docs" / "reference" / target).exists(), target

"""Writes docs/reference from the docstrings of what the author of a driver imports: ``python tools/reference.py``.

Nothing is imported, only read; a test holds the pages equal to what this makes (tests/unit/house/test_reference.py).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference"
PAGES = {
    "storage": "sampan/drivers/storage.py",
    "network": "sampan/drivers/network.py",
    "runtime": "sampan/drivers/runtime.py",
    "hooks": "sampan/drivers/hooks.py",
    "types": "sampan/drivers/types.py",
    "steps": "sampan/drivers/steps.py",
    "errors": "sampan/errors.py",
}
_ROLE = re.compile(r":(?:class|data|func|meth|mod|attr):`~?(?:[\w.]*\.)?(\w+)`")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def pages() -> dict[str, str]:
    """File name → its text."""
    made = {f"{name}.md": _page(name, source) for name, source in PAGES.items()}
    return {"README.md": _index(), **made}


def _index() -> str:
    lines = [
        "# Reference: all that the author of a driver imports",
        "",
        "Written by `make docs` from the docstrings of the code: change those, not these pages. "
        "[writing-a-driver.md](../writing-a-driver.md) is the way in.",
        "",
    ]
    for name, source in PAGES.items():
        first = (ast.get_docstring(_tree(source)) or "").split("\n\n")[0]
        lines.append(f"- [`{_module(source)}`]({name}.md): {_prose(first)}")
    return "\n".join(lines) + "\n"


def _page(name: str, source: str) -> str:
    tree = _tree(source)
    parts = [f"# `{_module(source)}`", _prose(ast.get_docstring(tree) or "")]
    for node, following in _with_next(tree.body):
        if isinstance(node, ast.ClassDef) and _public(node.name):
            parts += _class(node)
        elif isinstance(node, _Function) and _public(node.name):
            parts += _function(node, "##")
        else:
            parts += _constant(node, following)
    parts.append(f"*Written from the docstrings of `core/{source}` by `make docs`.*")
    return "\n\n".join(part for part in parts if part) + "\n"


def _tree(source: str) -> ast.Module:
    return ast.parse((ROOT / "core" / source).read_text(encoding="utf-8"))


def _module(source: str) -> str:
    return source.removesuffix(".py").replace("/", ".")


def _public(name: str) -> bool:
    return not name.startswith("_")


def _class(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"## class `{node.name}`" + (f" ({bases})" if bases else "")
    yield _prose(ast.get_docstring(node) or "")
    yield _fields(node)
    for each in node.body:
        if isinstance(each, _Function) and (_public(each.name) or each.name == "__init__") and ast.get_docstring(each):
            yield from _function(each, "###")


def _fields(node: ast.ClassDef) -> str:
    rows = []
    for each, following in _with_next(node.body):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and _public(each.target.id):
            default = f"`{ast.unparse(each.value)}`" if each.value is not None else ""
            rows.append((each.target.id, ast.unparse(each.annotation), default, _text(following)))
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and _public(each.targets[0].id):
            rows.append((each.targets[0].id, "", f"`{ast.unparse(each.value)}`", _text(following)))
    if not rows:
        return ""
    told = any(row[3] for row in rows)
    lines = ["| field | type | default |" + (" |" if told else ""), "|---|---|---|" + ("---|" if told else "")]
    for name, kind, default, text in rows:
        cells = [f"`{name}`", f"`{kind}`" if kind else "", default, *([_prose(text)] if told else [])]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |")
    return "\n".join(lines)


def _function(node: _Function, level: str) -> Iterator[str]:
    marks = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    kind = "" if "abstractmethod" not in marks else " · every driver has its own"
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    yield f"{level} `{node.name}`{kind}"
    yield f"```python\n{node.name}({_arguments(node)}){returned}\n```"
    yield _prose(ast.get_docstring(node) or "")


def _arguments(node: _Function) -> str:
    """As they are called: without ``self``."""
    arguments = ast.unparse(node.args)
    return re.sub(r"^(self|cls)(, |$)", "", arguments)


def _constant(node: ast.stmt, following: ast.stmt | None) -> Iterator[str]:
    """What is assigned and explained by a string below it."""
    text = _text(following)
    if isinstance(node, ast.Assign | ast.AnnAssign) and text:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and _public(target.id):
            yield f"## `{target.id}`"
            yield f"```python\n{ast.unparse(node)}\n```"
            yield _prose(text)


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _with_next(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    return zip(body, [*body[1:], None], strict=True)


def _prose(text: str) -> str:
    """Docstrings are nearly Markdown: indented blocks are code in both."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


def main() -> int:
    TARGET.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in TARGET.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted)} pages in {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

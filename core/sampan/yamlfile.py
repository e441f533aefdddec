"""YAML with what people need when it is wrong: line numbers, and no silent duplicate keys.

Imported only where a file is really read: PyYAML costs a tenth of the daemon's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from sampan.errors import Invalid


class Lines:
    """Where in the file a path of keys stands."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root

    def of(self, path: Sequence[str | int]) -> int:
        """The line (from 1) of the deepest part of ``path`` that the file has."""
        node, line = self._root, 1
        for part in path:
            if isinstance(node, yaml.MappingNode):
                found = [pair for pair in node.value if pair[0].value == part]
                if not found:
                    break
                line, node = found[0][0].start_mark.line + 1, found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line


def read(text: str, name: str) -> tuple[Any, Lines]:
    """The one document in ``text`` as plain data. ``Invalid`` names ``name`` and the line of a syntax error."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        _refuse_duplicates(root, name)
        return (None if root is None else loader.construct_document(root)), Lines(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Invalid(f"{name}:{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()


def _refuse_duplicates(node: yaml.Node | None, name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise Invalid(f"{name}:{key.start_mark.line + 1}: the key {key.value!r} stands here a second time")
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            _refuse_duplicates(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, name)

"""``inspect`` for every noun: an array of JSON objects, or a template for each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from sampan.cli.failures import Refused
from sampan.cli.output import tell
from sampan.cli.template import Template


def inspect_all(names: Sequence[str], get: Callable[[str], Any], form: str) -> int:
    """Prints what ``get`` gives for every name; what is not found is told after the others. Returns the exit status."""
    template = Template(form.replace("\\t", "\t").replace("\\n", "\n")) if form not in ("", "json") else None
    found, missing = [], []
    for name in names:
        try:
            found.append(get(name))
        except Refused as refused:
            missing.append(refused.message)
    if template is not None:
        for item in found:
            print(template.execute(item))
    elif form == "json":
        print(json.dumps(found, separators=(",", ":"), ensure_ascii=False))
    else:
        print(json.dumps(found, indent=4, ensure_ascii=False))
    sys.stdout.flush()
    for message in missing:
        tell(f"sampan: {message}")
    return 1 if missing else 0

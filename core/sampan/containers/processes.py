"""``top``: what ``ps`` says of a container's processes, as Docker has it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection

from sampan.errors import Invalid, Unavailable

_TIMEOUT = 10.0


def listed(pids: Collection[int], arguments: str) -> dict[str, list[str] | list[list[str]]]:
    """Docker's ``Titles`` and ``Processes``. Raises ``Invalid`` if ``ps`` does not like its arguments.

    The host's ``ps`` is asked, because it can show far more than we could: about the container's processes by their
    numbers, and where that does not go with the arguments (``f``), about all that these select.
    """
    given = arguments.split()
    if wrong := re.search(r"\s+(\S*)=\s*(PID\S*)", f" {arguments}", re.IGNORECASE):
        raise Invalid(f'specifying "{wrong[1]}={wrong[2]}" is not allowed')
    if any(re.fullmatch(r"(.*,)?pid=.*", argument, re.IGNORECASE) for argument in given):
        raise Invalid("the pid column must keep its title: do not write pid=")
    asked = _ps([*given, f"-q{','.join(map(str, pids))}"])
    if asked.returncode:
        asked = _ps(given)
    if asked.returncode:
        lines = asked.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
        raise Invalid(f"ps: {lines[0]}")
    return parse(asked.stdout.decode("utf-8", "replace"), pids)


def _ps(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ps", *arguments], capture_output=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError:
        raise Unavailable("the program ps is not installed on this host (Debian: apt install procps)") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"ps did not answer within {_TIMEOUT:.0f} seconds") from None


def parse(text: str, pids: Collection[int]) -> dict[str, list[str] | list[list[str]]]:
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Invalid("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = (line.split(None, len(titles) - 1) for line in lines[1:])
    mine = [row for row in rows if len(row) > column and row[column].isdigit() and int(row[column]) in pids]
    return {"Titles": titles, "Processes": mine}

"""docs/writing-a-driver.md, followed to the letter: its files are written, its commands are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environment import Environment
from harness.net import Net

DOCUMENT = Path(__file__).parents[2] / "docs" / "writing-a-driver.md"
PLACE = Path("/tmp/sampan-counting")
"""Where the tutorial has its engine."""


def steps() -> Iterator[tuple[str, str]]:
    """Of the tutorial, in order: ("sh", commands), or (the path of a file, its content)."""
    tutorial = DOCUMENT.read_text().partition("## Tutorial\n")[2].partition("\n## ")[0]
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", tutorial, re.MULTILINE | re.DOTALL):
        if language == "sh":
            yield "sh", body
        else:
            first, _, rest = body.partition("\n")
            assert first.startswith("# "), f"a file in the tutorial does not say what it is called: {first}"
            yield first[2:], rest


@pytest.mark.root
@pytest.mark.timeout(180)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    environment, work, net = Environment(tmp_path / "venv"), tmp_path / "work", Net(tmp_path)
    bin_, pidfile = environment.directory / "bin", PLACE / "daemon.pid"
    (bin_ / "sampan").write_text(f'#!/bin/sh\nexec {environment.python} -m sampan.cli "$@"\n')
    (bin_ / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {environment.python} "$@"\n')
    for program in ("sampan", "pip"):
        (bin_ / program).chmod(0o755)
    work.mkdir()
    environ = {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SAMPAN_HOST": f"unix://{PLACE}/engine.sock",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    net.make()
    try:
        said = ""
        for name, body in steps():
            if name != "sh":
                (work / name).write_text(body)
                continue
            # To a file: a pipe would stay open for as long as the daemon that it starts in the background.
            with (tmp_path / "said").open("w") as out:
                done = subprocess.run(
                    [*net.enter(net.inside), "sh", "-e"],
                    input=body,
                    cwd=work,
                    env=environ,
                    stdout=out,
                    stderr=out,
                    text=True,
                    timeout=60,
                    check=False,
                )
            told = (tmp_path / "said").read_text()
            assert done.returncode == 0, f"{body}\n{told}"
            said += told
    finally:
        if pidfile.exists():
            subprocess.run(["kill", pidfile.read_text().strip()], check=False)
        net.remove()
    shutil.rmtree(PLACE, ignore_errors=True)
    assert re.search(r"^storage +counting +\* +yes +sampan-storage-counting 0\.1\.0", said, re.MULTILINE), said
    assert "one\n" in said
    assert "two\n" in said
    [counted] = [json.loads(line) for line in re.findall(r'\{"[0-9a-f]{64}": \d+\}', said)]
    assert list(counted.values()) == [2]

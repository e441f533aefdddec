"""How workers share the modules of a run, and that a run ends whatever becomes of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness.shifts import LONGEST

TESTS = Path(__file__).parents[2]
CONFTEST = "import harness.shifts; harness.shifts.GRACE = 0.5; harness.shifts.LONGEST = {'test_long.py': 9.0}"
FINE = "def test_{}(): pass\n"
DIES = "import os\ndef test_that_dies(): os._exit(3)\n"
HANGS = """
import signal, time, pytest
@pytest.mark.timeout(0.5)
def test_that_hangs():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
"""
MODULES = {
    "few": FINE.format("only"),
    "many": "".join(map(FINE.format, range(9))),
    "dies": FINE.format("before") + DIES + FINE.format("after"),
    "hangs": FINE.format("before") + HANGS + FINE.format("after"),
    "long": FINE.format("of_length"),
}


def run(place: Path) -> subprocess.CompletedProcess[str]:
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "conftest.py").write_text(CONFTEST)
    for name, text in MODULES.items():
        (place / f"test_{name}.py").write_text(text)
    options = [
        "-p",
        "no:cacheprovider",
        "-p",
        "harness.shifts",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-v",
        f"--basetemp={place / 'tmp'}",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=place,
        env=kept | {"PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_run_in_which_workers_die_ends_says_where_and_begins_with_the_longest(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1, done
    [summary] = re.findall(r"=+ (.*) in .*=+$", done.stdout.strip())
    assert summary == "2 failed, 15 passed", done.stdout
    for name in ("test_dies.py::test_that_dies", "test_hangs.py::test_that_hangs"):
        assert re.search(rf"worker 'gw\d' crashed while running '{name}'", done.stdout), done.stdout
    assert 'test_hangs.py", line 7 in test_that_hangs' in done.stderr, done.stderr
    passed = re.findall(r"\[(gw\d)\].* PASSED (test_\w+)\.py", done.stdout)
    first = dict(reversed(passed))
    assert {first["gw0"], first["gw1"]} == {"test_long", "test_many"}, done.stdout


def test_those_that_are_said_to_take_long_are_there() -> None:
    assert not [module for module in LONGEST if not (TESTS.parent / module).is_file()]

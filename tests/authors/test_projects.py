"""``sampan drivers new``: projects that pass the kit before a line is changed, and then fail where work is to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.errors import Conflict, Invalid
from sampan.testing.projects import STAND_INS, write


def kit(project: Path, *words: str, timeout: float = 170) -> tuple[int, str]:
    """The project's own tests: pytest's exit status, and what it printed."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "CI", "LANG")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=False, timeout=timeout, env=environment
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.root
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("storage", ()),
        ("network", ()),
        ("runtime", ("-k", "order or signal or paused or restoring or exec_has or changes_all")),
    ],
)
def test_a_new_project_passes_before_a_line_is_changed(tmp_path: Path, family: str, words: tuple[str, ...]) -> None:
    """Of the runtime's many tests, those whose calls the stand-in has to pass on; native goes through all elsewhere."""
    write(family, "mine", tmp_path / "project")
    code, said = kit(tmp_path / "project", *words)
    assert code == 0, said
    assert re.search(r"[1-9]\d* passed", said)


@pytest.mark.root
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("family", "there", "instead", "failing"),
    [
        ("storage", "return self._stand_in.usage(container)", "raise NotImplementedError", {"usage"}),
        ("network", 'sandbox="own"', 'sandbox="own", addresses=True', {"endpoint"}),
        ("runtime", "self._stand_in.pause(container)", "raise NotImplementedError", {"paused"}),
    ],
)
def test_what_is_to_be_done_fails_and_nothing_else(
    tmp_path: Path, family: str, there: str, instead: str, failing: set[str]
) -> None:
    write(family, "mine", tmp_path / "project")
    driver = tmp_path / f"project/src/sampan_{family}_mine/driver.py"
    driver.write_text(driver.read_text().replace(there, instead))
    words = {"storage": "usage or begin", "network": "endpoint", "runtime": "paused or exit_code"}
    code, said = kit(tmp_path / "project", "-k", words[family])
    assert code == 1, said
    broken = re.findall(r"^FAILED \S+::(\w+)|^ERROR \S+::(\w+)", said, re.MULTILINE)
    assert broken
    wrong = {name for pair in broken for name in pair if name and not any(word in name for word in failing)}
    assert not wrong, said
    assert f"{family} driver mine: " in said, "no sentence says what is to be done"


@pytest.mark.parametrize("name", ["", "Mine", "a/b", "-x", "ü", "a b", "../x"])
def test_what_cannot_be_a_name_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="no name for a driver"):
        write("storage", name, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(Conflict, match="not an empty directory"):
        write("storage", "mine", tmp_path)
    with pytest.raises(Conflict):
        write("storage", "mine", tmp_path / "precious")


@pytest.mark.parametrize("family", STAND_INS)
@pytest.mark.parametrize("name", ["mine", "9p", "a.b-c_d"])
def test_every_file_of_a_project_is_whole(tmp_path: Path, family: str, name: str) -> None:
    files = write(family, name, tmp_path / "project")
    assert {"pyproject.toml", "README.md", "driver.py"} <= {path.name for path in files}
    for path in files:
        assert "$" not in path.read_text()
        if path.suffix == ".py":
            compile(path.read_text(), path, "exec")

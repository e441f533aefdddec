"""``sampan drivers new`` and ``sampan drivers test`` on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def sampan(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sampan.cli", *words]
    environ = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=110, env=environ)


@pytest.mark.root
def test_the_kit_runs_on_an_installed_driver(tmp_path: Path) -> None:
    done = sampan("drivers", "test", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "this driver does not have publishing" in done.stdout, "it does not say what was not tried, and why"


@pytest.mark.root
def test_a_driver_whose_networks_need_options_is_given_them(tmp_path: Path) -> None:
    if not Path("/usr/lib/cni/ptp").exists():
        pytest.skip("there are no CNI plugins here (containernetworking-plugins)")
    config = """{"cniVersion": "1.0.0", "name": "kit{number}", "type": "ptp", "ipam": {"type": "host-local",
        "dataDir": "{directory}/ipam", "ranges": [[{"subnet": "10.2{number}.0.0/16"}]]}}"""
    words = ["--network-option", f"config={config}", "--", "-k", "endpoint_has or neighbours or leaving"]
    done = sampan("drivers", "test", "cni", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "need options (" not in done.stdout
    done = sampan("drivers", "test", "cni", "--", "-k", "endpoint", cwd=tmp_path)
    assert "--network-option)" in done.stdout


@pytest.mark.root
def test_a_project_that_one_stands_in_is_not_taken_for_the_driver(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError\n")
    assert sampan("drivers", "test", "none", "--", "-k", "contract", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing"], "no driver is called 'nothing'; found here: "),
        (["bridge", "--family", "storage"], "no storage driver is called 'bridge'"),
        (["bridge", "--family", "boats"], "the families are storage, network, runtime"),
        (["vfs", "--option", "size"], "key=value is expected"),
        (["bridge", "--network-option", "x"], "key=value is expected"),
        (["vfs", "--network-option", "x=1"], "'vfs' is a storage driver"),
        (["bridge", "--option", "mtu=big"], "network.options.bridge.mtu"),
        (["bridge", "--option", "mtv=1400"], "mtv"),
    ],
)
def test_what_cannot_be_tested_is_told_in_a_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    done = sampan("drivers", "test", *words, cwd=tmp_path)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_without_pytest_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'pytest' else find(name, *rest)\n"
        "import sys\nfrom sampan.cli import main\nsys.exit(main())\n"
    )
    command = [sys.executable, str(tmp_path / "run.py"), "drivers", "test", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "sampan: the conformance kit needs pytest, which is not installed: pip install 'sampan[testing]'\n"
    )


def test_new_writes_a_project_and_says_how_to_go_on(tmp_path: Path) -> None:
    done = sampan("drivers", "new", "network", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sampan-network-mine/src/sampan_network_mine/driver.py").is_file()
    assert "pip install -e '.[testing]'" in done.stdout
    again = sampan("drivers", "new", "network", "mine", cwd=tmp_path)
    assert (again.returncode, "exists and is not an empty directory" in again.stderr) == (1, True)

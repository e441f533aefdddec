"""``sampan daemon`` takes dockerd's flags and lays them over the configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cli import daemon
from sampan.cli.app import run
from sampan.cli.failures import Usage
from sampan.cli.flags import read
from sampan.config import Config


def configured(*words: str) -> Config:
    return daemon.configuration(read(words, daemon.daemon.flags, stops=False))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data_root: /from/file\nexec_root: /run/from/file\nstorage: {driver: overlayfs}\n")
    found = configured(
        *("--config-file", str(file), "--data-root", "/from/flag", "--storage-driver", "vfs", "-D"),
        *("-H", "unix:///a.sock", "--host", "tcp://127.0.0.1:1", "-b", "br9", "--bip", "10.9.0.1/24"),
        *("--dns", "9.9.9.9", "--label", "a=b", "--pidfile", "/p", "--storage-opt", "vfs.x=y"),
    )
    assert (str(found.data_root), str(found.exec_root), str(found.pidfile)) == ("/from/flag", "/run/from/file", "/p")
    assert (found.storage.driver, found.storage.options["vfs"], found.log_level) == ("vfs", {"x": "y"}, "debug")
    assert [str(host) for host in found.hosts] == ["unix:///a.sock", "tcp://127.0.0.1:1"]
    assert (str(found.network.bridge_name), str(found.network.bridge_subnet)) == ("br9", "10.9.0.0/24")
    assert ([str(one) for one in found.network.dns], found.labels) == (["9.9.9.9"], ["a=b"])


@pytest.mark.parametrize(("level", "ours"), [("warn", "warning"), ("fatal", "error"), ("info", "info")])
def test_dockers_levels(level: str, ours: str) -> None:
    assert configured("--log-level", level).log_level == ours


@pytest.mark.parametrize("words", [("--log-level", "loud"), ("--bip", "10.9.0.7/24")])
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    with pytest.raises(Usage):
        configured(*words)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 0, "configuration OK"),
        ("nonsense: 1\n", 1, "config.yaml:1: nonsense: unknown key"),
        ("storage: {driver: nope}\n", 1, "nope"),
        ("storage:\n  options: {vfs: {nope: 1}}\n", 1, "nope"),
    ],
)
def test_validate(text: str, code: int, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert run(["daemon", "--validate", "--config-file", str(file)]) == code
    out, err = capfd.readouterr()
    assert said in out + err
    assert (out if code else err) == ""

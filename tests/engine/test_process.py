"""What a container's process is given: devices, namespaces, limits and rights, as it sees them itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]


def test_a_device_is_there_and_may_be_used_as_asked(cli: Cli, shell: str, nothing_left: None) -> None:
    script = "stat -c %t:%T /dev/mine /opt/also; head -c 4 /dev/mine | wc -c; : > /dev/mine || echo refused"
    done = cli("run", "--rm", "--device", "/dev/zero:/dev/mine:rw", "--device", "/dev/zero:/opt/also", shell, "sh",
               "-c", script)  # fmt: skip
    assert done.out.split() == ["1:5", "1:5", "4"]


def test_what_is_not_asked_for_cannot_be_opened(cli: Cli, shell: str) -> None:
    """Any node can be made (this is FUSE), but the rule says that it may be read alone."""
    script = "mknod /k c 10 229; head -c 0 /k && echo read; (: > /k) 2>/dev/null || echo refused"
    assert cli("run", "--rm", shell, "sh", "-c", script).out == "refused"
    allowed = cli("run", "--rm", "--device-cgroup-rule", "c 10:229 r", shell, "sh", "-c", script)
    assert allowed.out.split() == ["read", "refused"]


def test_a_standard_device_can_be_another(cli: Cli, shell: str) -> None:
    done = cli(
        "run", "--rm", "--device", "/dev/zero:/dev/full", shell, "sh", "-c", "echo x > /dev/full; stat -c %T /dev/full"
    )
    assert done.out == "5"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (
            ["--device", "/dev/nosuch"],
            127,
            'gathering device information while adding custom device "/dev/nosuch": no such file or directory',
        ),
        (["--device", "/etc/passwd"], 125, 'adding custom device "/etc/passwd": not a device node'),
    ],
)
def test_a_device_that_is_none_is_named(cli: Cli, shell: str, flags: list[str], code: int, words: str) -> None:
    done = cli("run", "--rm", *flags, shell, "true")
    assert (done.code, words in done.stderr) == (code, True), done.stderr


def test_there_is_no_driver_for_processors_of_graphics(engine: Engine, docker_cli: str, shell: str) -> None:
    done = engine.docker("run", "--rm", "--gpus", "all", shell, "true")
    assert done.code == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr

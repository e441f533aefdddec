"""Command lines are read by the rules of Go's pflag."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.failures import Usage
from sampan.cli.flags import AskedForHelp, Flag, read
from sampan.cli.quantities import cpus, duration, integer, size

PORTS = ["80:80", "81:81", "82:82", "83:83", "84"]

FLAGS = (
    Flag("interactive", short="i"),
    Flag("tty", short="t"),
    Flag("sig-proxy", default=True),
    Flag("publish", read=str, short="p", many=True),
    Flag("memory", read=size, short="m", default=0),
)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("-it", {"interactive": True, "tty": True}),
        ("-i -t", {"interactive": True, "tty": True}),
        (
            "-ip80:80 -p 81:81 -p=82:82 --publish 83:83 --publish=84",
            {"publish": PORTS},
        ),
        ("--sig-proxy=false", {"sig_proxy": False}),
        ("--sig-proxy", {"sig_proxy": True}),
        ("--tty=1 --interactive=F", {"tty": True, "interactive": False}),
        ("-m 64m", {"memory": 64 << 20}),
        ("-- -i", {"interactive": False, "rest": ["-i"]}),
        ("-", {"rest": ["-"]}),
        ("a -i b", {"interactive": True, "rest": ["a", "b"]}),
        ("--publish=", {"publish": [""]}),
    ],
)
def test_reads(words: str, wanted: dict[str, Any]) -> None:
    args = read(words.split(), FLAGS, stops=False)
    assert {key: getattr(args, key) for key in wanted} == wanted


def test_stops_at_the_first_word_of_another_command_line() -> None:
    args = read(["-i", "image", "ls", "-t", "--help"], FLAGS, stops=True)
    assert args.rest == ["image", "ls", "-t", "--help"]
    assert not args.tty


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--ty", "unknown flag: --ty (did you mean --tty?)"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-ix", "unknown shorthand flag: 'x' in -ix"),
        ("-p", "flag needs an argument: 'p' in -p"),
        ("--publish", "flag needs an argument: --publish"),
        ("--tty=maybe", 'invalid argument "maybe" for -t, --tty: it is neither true nor false'),
        ("-m lots", 'invalid argument "lots" for -m, --memory: write a size such as 512m or 1.5g'),
    ],
)
def test_says_what_is_wrong(words: str, sentence: str) -> None:
    with pytest.raises(Usage) as caught:
        read(words.split(), FLAGS, stops=False)
    assert caught.value.message == sentence
    assert caught.value.code == 125


@pytest.mark.parametrize("words", ["--help", "-h", "-ih"])
def test_help_is_asked_for(words: str) -> None:
    with pytest.raises(AskedForHelp):
        read(words.split(), FLAGS, stops=False)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("1024", 1024),
        ("1k", 1024),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("512mb", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("10b", 10),
        ("-1", -1),
    ],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("1h30m", 5_400_000_000_000), ("500ms", 500_000_000), ("0", 0), ("-1.5s", -1_500_000_000)]
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


def test_numbers() -> None:
    assert cpus("1.5") == 1_500_000_000
    assert integer("-7") == -7


@pytest.mark.parametrize(
    ("reads", "text"),
    [(size, "m"), (size, ""), (size, "1x"), (size, "nan"), (duration, "5"), (duration, "x"), (duration, ""),
     (duration, "1.1.1s"), (cpus, "-1"), (cpus, "nan"), (cpus, "inf"), (integer, "1.5"), (integer, "")],
)  # fmt: skip
def test_nonsense_is_refused_with_a_reason(reads: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reads(text)

"""Tables, sizes and ages read as Docker's do."""

from __future__ import annotations

import pytest

from sampan.cli import output
from sampan.cli.container.ls import ports


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (4269685, "4.27MB"), (1500, "1.5kB"), (123456789, "123MB"), (1e9, "1GB")],
)
def test_sizes(count: float, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


def test_table_has_the_widths_of_tabwriter() -> None:
    assert output.table([("ID", "NAMES"), ("4f53cda18c2b", "web")]) == "ID             NAMES\n4f53cda18c2b   web"
    assert output.table([("A", "B"), ("1", "2")]) == "A         B\n1         2"


@pytest.mark.parametrize(
    ("bindings", "text"),
    [
        ([], ""),
        ([(80, 0, "")], "80/tcp"),
        ([(80, 8080, "0.0.0.0")], "0.0.0.0:8080->80/tcp"),
        ([(80, 8080, "0.0.0.0"), (80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([(82, 0, ""), (80, 0, ""), (81, 0, "")], "80-82/tcp"),
        ([(80, 80, "0.0.0.0"), (81, 81, "0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"),
        ([(80, 80, "0.0.0.0"), (81, 90, "0.0.0.0")], "0.0.0.0:80->80/tcp, 0.0.0.0:90->81/tcp"),
        ([(443, 0, ""), (80, 8080, "127.0.0.1")], "443/tcp, 127.0.0.1:8080->80/tcp"),
    ],
)
def test_ports(bindings: list[tuple[int, int, str]], text: str) -> None:
    given = [
        {"PrivatePort": private, "Type": "tcp", **({"PublicPort": public, "IP": address} if public else {})}
        for private, public, address in bindings
    ]
    assert ports(given) == text

"""``--gpus`` as docker reads it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.container import gpus
from sampan.cli.failures import Usage


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("all", {"Count": -1}),
        ("2", {"Count": 2}),
        ("count=all", {"Count": -1}),
        ('"device=0,GPU-3a"', {"DeviceIDs": ["0", "GPU-3a"]}),
        ("driver=nvidia", {"Driver": "nvidia", "Count": 1}),
        ('all,"capabilities=utility,compute"', {"Count": -1, "Capabilities": [["compute", "gpu", "utility"]]}),
        ('1,"options=a=b,c=d"', {"Count": 1, "Options": {"a": "b", "c": "d"}}),
    ],
)
def test_read(word: str, expected: dict[str, Any]) -> None:
    plain = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}, "Capabilities": [["gpu"]]}
    assert gpus.requests([word]) == [{**plain, **expected}]


@pytest.mark.parametrize("word", ["", "some", "count=x", "all,2", "colour=red", '"all', "device"])
def test_refused(word: str) -> None:
    with pytest.raises(Usage, match="--gpus"):
        gpus.requests([word])

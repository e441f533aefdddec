from __future__ import annotations

import pytest

from sampan.drivers.types import NetworkSpec
from sampan.errors import Invalid
from sampan.networks.interfaces import NAME, PREFIX, check, names
from sampan.types import Endpoint, Network


def place(name: str = "", prefix: str = "") -> tuple[Endpoint, Network]:
    spec = NetworkSpec(id="n", name="n", driver="bridge", options={PREFIX: prefix} if prefix else {})
    endpoint = Endpoint(network="n", network_name="n", driver_options={NAME: name} if name else {})
    return endpoint, Network(spec=spec, created="")


def test_usual_names_prefixes_and_names_of_ones_own() -> None:
    assert names([place(), place()]) == ["eth0", "eth1"]
    assert names([place(), place(prefix="lan"), place(prefix="lan"), place()]) == ["eth0", "lan0", "lan1", "eth1"]
    assert names([place(), place("eth0"), place("wan")]) == ["eth1", "eth0", "wan"]
    assert names([place()], taken={"eth0", "eth1"}) == ["eth2"]


@pytest.mark.parametrize("name", ["", "a/b", "x" * 16, "lo", "..", "a b", "all", "é"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="interface name"):
        check({NAME: name})


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(Invalid, match="wan"):
        names([place("wan"), place("wan")])
    with pytest.raises(Invalid, match="eth0"):
        names([place("eth0")], taken={"eth0"})

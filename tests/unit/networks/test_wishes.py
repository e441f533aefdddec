from __future__ import annotations

from typing import Any

import pytest

from sampan.drivers.types import NetworkFeatures, NetworkSpec, Subnet
from sampan.errors import Conflict, Forbidden, Invalid, NotFound, SampanError, Unsupported
from sampan.networks import request
from sampan.networks.wishes import Planner
from sampan.types import Network


def network(name: str, driver: str = "bridge", *, default: bool = False) -> Network:
    subnets = (Subnet(subnet="10.1.0.0/16", gateway="10.1.0.1"),) if driver == "bridge" else ()
    spec = NetworkSpec(id=name[0] * 64, name=name, driver=driver, subnets=subnets, default=default)
    return Network(spec=spec, created="")


NETWORKS = [network("bridge", default=True), network("host", "host", default=True), network("mine"), network("yours")]


def find(reference: str) -> Network:
    for one in NETWORKS:
        if reference in (one.spec.name, one.spec.id):
            return one
    raise NotFound(f"network {reference} not found")


def features(one: Network) -> NetworkFeatures:
    alone = one.spec.driver == "host"
    return NetworkFeatures(sandbox="host" if alone else "own", addresses=not alone, single=alone)


def plan(mode: str, wanted: dict[str, Any] | None = None, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return Planner(find, features).plan(mode, {}, wanted or {}, config or {})


def test_the_network_of_the_mode_comes_first() -> None:
    assert list(plan("mine")) == ["mine"]
    assert list(plan("mine", {"yours": {}, "mine": {}})) == ["mine", "yours"]


def test_by_id_too_and_keyed_by_name() -> None:
    endpoint = plan("m" * 64, {"mine": {"Aliases": ["db"]}})["mine"]
    assert (endpoint.network, endpoint.network_name, endpoint.aliases) == ("m" * 64, "mine", ["db"])


def test_fixed_addresses_aliases_and_mac() -> None:
    given = {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "MacAddress": "02:42:AC:11:00:09", "DriverOpts": {"a": "b"}}
    endpoint = plan("mine", {"mine": given})["mine"]
    assert endpoint.requested_ipv4 == "10.1.0.9"
    assert endpoint.requested_mac == "02:42:ac:11:00:09"
    assert endpoint.driver_options == {"a": "b"}


def test_addresses_of_the_link_alone() -> None:
    given = {"IPAMConfig": {"LinkLocalIPs": ["169.254.8.8", "fe80::8"]}}
    assert plan("mine", {"mine": given})["mine"].link_local == ["169.254.8.8/16", "fe80::8/64"]
    with pytest.raises(Invalid, match=r"invalid link-local IP address 169\.254: one like"):
        plan("mine", {"mine": {"IPAMConfig": {"LinkLocalIPs": ["169.254"]}}})


def test_the_containers_own_mac_is_for_the_network_of_the_mode() -> None:
    endpoints = plan("mine", {"yours": {}}, {"MacAddress": "02:00:00:00:00:01"})
    assert [one.requested_mac for one in endpoints.values()] == ["02:00:00:00:00:01", ""]


def test_the_default_network_is_for_who_names_it_or_none() -> None:
    assert list(plan("bridge")) == ["bridge"]
    assert list(plan("bridge", {"yours": {}, "mine": {}})) == ["yours", "mine"]
    assert list(plan("bridge", {"mine": {}, "bridge": {}})) == ["mine", "bridge"]
    assert list(plan("bridge", {"mine": {}, "default": {}})) == ["mine", "bridge"]
    assert list(plan("bridge", {"mine": {}}, {"MacAddress": "02:00:00:00:00:0a"})) == ["bridge", "mine"]


@pytest.mark.parametrize("mode", ["mine", "m" * 64])
@pytest.mark.parametrize("mac", ["", "02:00:00:00:00:0A"])
def test_the_containers_own_mac_beside_other_settings(mode: str, mac: str) -> None:
    """docker-compose gives it so, and Watchtower, with the network's id."""
    given = {"mine": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "MacAddress": mac}}
    endpoint = plan(mode, given, {"MacAddress": "02:00:00:00:00:0a"})["mine"]
    assert (endpoint.requested_ipv4, endpoint.requested_mac) == ("10.1.0.9", "02:00:00:00:00:0a")
    with pytest.raises(Invalid, match="the container-wide MAC address must match"):
        plan(mode, {"mine": {"MacAddress": "02:00:00:00:00:0b"}}, {"MacAddress": "02:00:00:00:00:0a"})


def test_another_containers_network_means_none_of_ones_own() -> None:
    assert plan("container:x") == {}
    with pytest.raises(Conflict, match="conflicting options"):
        plan("container:x", {"mine": {}})


@pytest.mark.parametrize(
    ("mode", "given", "kind", "named"),
    [
        ("nowhere", {}, NotFound, "network nowhere not found"),
        ("bridge", {"IPAMConfig": {"IPv4Address": "10.1.0.9"}}, Invalid, "user defined networks only"),
        ("bridge", {"Aliases": ["db"]}, Invalid, "network-scoped alias"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.1.0"}}, Invalid, "invalid IPv4 address: 10.1.0"),
        ("mine", {"IPAMConfig": {"IPv6Address": "10.1.0.9"}}, Invalid, "invalid IPv6 address: 10.1.0.9"),
        ("mine", {"IPAMConfig": {"IPv6Address": "::ffff:10.1.0.9"}}, Invalid, "invalid IPv6 address: ::ffff:10.1.0.9"),
        ("mine", {"IPAMConfig": {"LinkLocalIPs": ["169.253.5.5"]}}, Invalid, "invalid link-local IP address 169.253"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.9.0.9"}}, Invalid, "no configured subnet"),
        ("mine", {"MacAddress": "02:42"}, Invalid, "02:42"),
    ],
)
def test_what_cannot_be(mode: str, given: dict[str, Any], kind: type[SampanError], named: str) -> None:
    with pytest.raises(kind, match=named):
        plan(mode, {mode: given})


def test_host_and_another_network_exclude_one_another() -> None:
    with pytest.raises(Conflict, match="host"):
        plan("host", {"mine": {}})


def test_bad_ports_are_refused_when_the_container_is_made() -> None:
    with pytest.raises(Invalid, match="abc"):
        Planner(find, features).plan("mine", {"PortBindings": {"80/tcp": [{"HostPort": "abc"}]}}, {}, {})


def test_a_request_for_a_network() -> None:
    body = {
        "Name": "mine",
        "Internal": True,
        "EnableIPv6": False,
        "Options": {"a": "b"},
        "Labels": {"c": ""},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "fd00::/64"}]},
    }
    read = request.read(body)
    assert (read.name, read.driver, read.internal, read.ipv4, read.ipv6) == ("mine", "", True, True, True)
    assert (read.options, read.labels) == ({"a": "b"}, {"c": ""})


@pytest.mark.parametrize(
    ("body", "kind", "named"),
    [
        ({"Name": "bridge"}, Forbidden, "operation is not permitted on predefined bridge network"),
        ({"Name": ""}, Invalid, "invalid network name"),
        ({"Name": "../x"}, Invalid, "../x"),
        ({"Name": "x", "Scope": "swarm"}, Unsupported, "swarm"),
        ({"Name": "x", "Ingress": True}, Unsupported, "Ingress"),
        ({"Name": "x", "IPAM": {"Driver": "dhcp"}}, Unsupported, "dhcp"),
        ({"Name": "x", "Options": {"a": 1}}, Invalid, "invalid value for Options.*: must be str, not int"),
        ({"Name": "x", "Labels": ["a"]}, Invalid, "invalid value for Labels: must be object, not array"),
        ({"Name": 5}, Invalid, "invalid value for Name"),
        ({"Name": "x", "Driver": ["bridge"]}, Invalid, "invalid value for Driver"),
        ({"Name": "x", "Internal": "yes"}, Invalid, "invalid value for Internal: must be bool"),
        ({"Name": "x", "EnableIPv4": 5}, Invalid, "EnableIPv4"),
        ({"Name": "x", "IPAM": 5}, Invalid, "invalid value for IPAM: must be object"),
        ({"Name": "x", "IPAM": {"Config": 5}}, Invalid, "IPAM.Config: must be array"),
        ({"Name": "x", "IPAM": {"Config": [None]}}, Invalid, "IPAM.Config"),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": 10**40}]}}, Invalid, "Subnet"),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "AuxiliaryAddresses": []}]}},
            Invalid,
            "Auxiliary",
        ),
        ({"Name": "x", "ConfigFrom": 5}, Invalid, "ConfigFrom"),
        ({"Name": "x", "Labels": {"a": "\0"}}, Invalid, "NUL"),
    ],
)
def test_a_request_that_cannot_be(body: dict[str, Any], kind: type[SampanError], named: str) -> None:
    with pytest.raises(kind, match=named):
        request.read(body)

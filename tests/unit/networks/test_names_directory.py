"""Who is found by which name, and by whom."""

from __future__ import annotations

import ipaddress

from sampan.networks.names.directory import Directory, Found, links


def packed(*addresses: str) -> Found:
    whole = [ipaddress.ip_address(one).packed for one in addresses]
    return Found(tuple(one for one in whole if len(one) == 4), tuple(one for one in whole if len(one) == 16))


def shore() -> Directory:
    """``web`` and ``db`` on the network ``shore``, ``spy`` on ``deep``, ``both`` on both."""
    directory = Directory()
    directory.enter("n1", "shore", "1", ["web", "www", "0123456789ab"], ["10.0.0.2/24", "fd00::2/64"])
    directory.enter("n1", "shore", "2", ["db", "www"], ["10.0.0.3/24"], links({"web:front", "web"}))
    directory.enter("n2", "deep", "3", ["spy"], ["10.0.1.2/24"])
    directory.enter("n1", "shore", "4", ["both"], ["10.0.0.4/24"])
    directory.enter("n2", "deep", "4", ["both"], ["10.0.1.4/24"])
    return directory


def test_names_aliases_and_ids() -> None:
    directory = shore()
    assert directory.find("2", "web") == directory.find("2", "0123456789ab") == packed("10.0.0.2", "fd00::2")
    assert directory.find("2", "www") == packed("10.0.0.2", "10.0.0.3", "fd00::2")
    assert directory.find("1", "db") == packed("10.0.0.3")
    assert directory.find("1", "web") == packed("10.0.0.2", "fd00::2")
    assert directory.find("1", "nobody") is None


def test_a_name_with_the_network_behind_it() -> None:
    directory = shore()
    directory.enter("n3", "far.shore", "5", ["a.b", "web"], ["10.0.2.2/24"])
    assert directory.find("2", "web.shore") == packed("10.0.0.2", "fd00::2")
    assert directory.find("2", "web.deep") is None
    assert directory.find("5", "a.b") == directory.find("5", "a.b.far.shore") == packed("10.0.2.2")
    assert directory.find("5", "web.shore") is None


def test_nobody_sees_other_networks() -> None:
    directory = shore()
    assert directory.find("3", "web") is None
    assert directory.find("3", "web.shore") is None
    assert directory.find("1", "spy") is None
    assert directory.find("stranger", "web") is None
    assert directory.find("4", "web") is not None
    assert directory.find("4", "spy") is not None
    assert directory.name_of("3", ipaddress.ip_address("10.0.0.2").packed) is None


def test_links_are_one_containers_own() -> None:
    directory = shore()
    assert directory.find("2", "front") == packed("10.0.0.2", "fd00::2")
    assert directory.find("2", "front.shore") == packed("10.0.0.2", "fd00::2")
    assert directory.find("1", "front") is None
    assert links(["db", "/db:x", "DB:/Y"]) == {"db": "db", "x": "db", "y": "db"}


def test_reverse() -> None:
    directory = shore()
    for address in ("10.0.0.2", "fd00::2"):
        assert directory.name_of("2", ipaddress.ip_address(address).packed) == "web.shore"
    assert directory.name_of("2", bytes(4)) is None


def test_who_has_left_is_not_found() -> None:
    directory = shore()
    directory.leave("n1", "1")
    directory.leave("n1", "1")
    assert directory.find("2", "web") is None
    assert directory.find("2", "www") == packed("10.0.0.3")
    assert directory.find("1", "db") is None
    assert not directory.sees("1")
    assert directory.name_of("2", ipaddress.ip_address("10.0.0.2").packed) is None


def test_other_names_replace_the_former_ones() -> None:
    directory = shore()
    directory.enter("n1", "shore", "1", ["web2"], ["10.0.0.9/24"])
    assert directory.find("2", "web") is None
    assert directory.find("2", "WEB2".lower()) == packed("10.0.0.9")


def test_an_address_that_went_to_somebody_else_stays_his() -> None:
    directory = shore()
    directory.enter("n1", "shore", "6", ["new"], ["10.0.0.2/24"])
    directory.leave("n1", "1")
    assert directory.name_of("2", ipaddress.ip_address("10.0.0.2").packed) == "new.shore"

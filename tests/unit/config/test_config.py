"""The configuration: what is read, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan import config
from sampan.config import Config
from sampan.errors import Invalid, NotFound


def test_nothing_means_the_defaults() -> None:
    assert config.parse("") == Config()
    assert config.parse("network:\nlog:\n") == Config()
    assert config.parse("log:\n  max_size:\n") == Config()


def test_values_are_read_with_their_units() -> None:
    read = config.parse(
        """
        data_root: /srv/boats
        hosts: [unix:///run/a.sock, "tcp://[::1]:2375"]
        log: {max_size: 1.5K, max_file: 2}
        network:
          bridge_subnet: 10.9.0.0/24
          default_address_pools: [{base: "fd00:1::/48", size: 64}]
          options: {bridge: {mtu: 9000}}
        """
    )
    assert read.data_root == Path("/srv/boats")
    assert read.hosts == ["unix:///run/a.sock", "tcp://[::1]:2375"]
    assert (read.log.max_size, read.log.max_file) == (1500, 2)
    assert read.network.bridge_subnet == "10.9.0.0/24"
    assert read.network.default_address_pools[0].size == 64
    assert read.network.options == {"bridge": {"mtu": 9000}}


WRONG = [
    ("netwrok: {}", "c.yaml:1: netwrok: unknown key; did you mean 'network'?"),
    ("\nnetwork:\n  mtu: 3", "c.yaml:3: network.mtu: unknown key; known here: bridge_name, "),
    ("log:\n  max_size: 20x", "c.yaml:2: log.max_size: '20x' is not allowed; expected a size such as 512k, 20m or 1g"),
    ("log:\n  max_size: -1", "c.yaml:2: log.max_size: -1 is not allowed"),
    ("log: {max_file: 0}", "log.max_file: 0 is not allowed; expected a whole number from 1 to 1000"),
    ("log: {max_file: yes}", "log.max_file: true is not allowed; expected a whole number"),
    ("log: {driver: syslog}", "log.driver: 'syslog' is not allowed; expected one of json-file, local, none"),
    ("hosts:\n- unix:///a\n- ftp://b", "c.yaml:3: hosts[1]: 'ftp://b' is not allowed; expected unix:///"),
    ("hosts: ['tcp://h:70000']", "hosts[0]: 'tcp://h:70000' is not allowed"),
    ("hosts: unix:///a", "hosts: 'unix:///a' is not allowed; expected a list"),
    ("data_root: var", "data_root: 'var' is not allowed; expected an absolute path"),
    ("data_root: /a/../..", "data_root: '/a/../..' is not allowed"),
    ("data_root: /run/sampan/data", "must lie apart"),
    ("network: {bridge_name: sampan-bridge-number-1}", "network.bridge_name: 'sampan-bridge-number-1' is not allowed"),
    ("network: {bridge_subnet: 10.0.0.1/8}", "network.bridge_subnet: '10.0.0.1/8' is not allowed"),
    ("network: {dns: [1.2.3.400]}", "network.dns[0]: '1.2.3.400' is not allowed; expected an IPv4 or IPv6 address"),
    (
        "network:\n  default_address_pools:\n  - {base: 10.0.0.0/8}",
        "c.yaml:3: network.default_address_pools[0].size: is m",
    ),
    ("network:\n  default_address_pools:\n  - {base: 10.0.0.0/8, size: 4}", "[0]: size 4 does not fit base 10.0.0.0/8"),
    ("storage: {options: {vfs: 3}}", "storage.options.vfs: 3 is not allowed; expected a mapping"),
    ("labels: {a: b}", "labels: {'a': 'b'} is not allowed; expected a list"),
    ("- a", "c.yaml:1: ['a'] is not allowed; expected a mapping with the keys data_root"),
    ("log:\n  driver: none\n  driver: none", "c.yaml:3: the key 'driver' stands here a second time"),
    ("log:\n  {", "c.yaml:2: not valid YAML"),
    ("log: !!python/name:os.system", "not valid YAML"),
    ("a: &a [*a]", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_an_error_names_the_place_the_value_and_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        config.parse(text, "c.yaml")
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.yaml does not exist"):
        config.load(tmp_path / "nowhere.yaml")


def test_the_default_file_need_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "config.yaml")
    assert config.load() == Config()
    (tmp_path / "config.yaml").write_text("log_level: debug")
    assert config.load().log_level == "debug"


def test_a_directory_or_binary_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(Invalid, match="cannot be read"):
            config.load(path)


def test_flags_are_checked_like_the_file() -> None:
    changed = config.override(Config(), {"network.bridge_name": "br7", "data_root": "/srv/x"})
    assert (changed.network.bridge_name, changed.data_root) == ("br7", Path("/srv/x"))
    assert changed.network.publish_address == Config().network.publish_address
    with pytest.raises(Invalid, match=r"network\.bridge_name: 'br 7' is not allowed"):
        config.override(Config(), {"network.bridge_name": "br 7"})
    with pytest.raises(Invalid, match="must lie apart"):
        config.override(Config(), {"data_root": "/run"})

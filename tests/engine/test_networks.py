"""The life of networks through the docker CLI: made with every flag, listed, pruned, refused; their addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

SERVE = "echo aboard >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp"


@pytest.fixture
def clean(engine: Engine) -> Iterator[None]:
    """Whatever a test makes is gone after it."""
    engine.image()
    before = engine.leftovers()
    known = {one["Id"] for one in engine.api("GET", "/networks")[1]}
    yield
    engine.remove_containers()
    for one in engine.api("GET", "/networks")[1]:
        if one["Id"] not in known:
            engine.docker("network", "rm", one["Id"]).ok()
    engine.assert_as_before(before)


def network(engine: Engine, name: str) -> dict[str, Any]:
    [one] = json.loads(engine.docker("network", "inspect", name).out)
    return dict(one)


def place(engine: Engine, container: str, name: str) -> dict[str, Any]:
    [one] = json.loads(engine.docker("inspect", container).out)
    return dict(one["NetworkSettings"]["Networks"][name])


def serve(engine: Engine, name: str, *words: str) -> None:
    engine.docker("run", "-d", "--name", name, *words, engine.image(), "sh", "-c", SERVE).ok()


def reaches(engine: Engine, name: str, host: str) -> bool:
    get = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{host}/"]
    return engine.docker("exec", name, *get).stdout == "aboard\n"


def test_a_network_that_is_only_a_configuration_is_there_for_others_to_be_made_of(engine: Engine, clean: None) -> None:
    what = ["--subnet", "10.84.0.0/24", "--gateway", "10.84.0.9", "-o", "com.docker.network.driver.mtu=1400"]
    engine.docker("network", "create", "--config-only", *what, "--label", "a=b", "plan").ok()
    plan = network(engine, "plan")
    assert (plan["ConfigOnly"], plan["Driver"], plan["Labels"]) == (True, "null", {"a": "b"})
    engine.docker("network", "create", "--config-from", "plan", "--internal", "made").ok()
    made = network(engine, "made")
    assert (made["ConfigFrom"], made["ConfigOnly"], made["Internal"]) == ({"Network": "plan"}, False, True)
    assert {key: made[key] for key in ("IPAM", "Options", "Labels")} == {
        key: plan[key] for key in ("IPAM", "Options", "Labels")
    }
    assert (
        engine.docker("run", "--rm", "--network", "made", engine.image(), "cat", "/sys/class/net/eth0/mtu").out
        == "1400"
    )
    again = engine.docker("network", "create", "--config-from", "plan", "again")
    assert "Pool overlaps with other one on this address space" in again.stderr
    for words in (
        ["run", "--rm", "--network", "plan", engine.image(), "true"],
        ["network", "connect", "plan", "moored"],
    ):
        if words[0] == "network":
            engine.docker("create", "--name", "moored", engine.image(), "true").ok()
        assert "cannot create endpoint on configuration-only network" in engine.docker(*words).stderr
    engine.kill()
    engine.start()
    assert 'configuration network "plan" is in use' in engine.docker("network", "rm", "plan").stderr
    assert engine.docker("network", "prune", "-f").out.split() == ["Deleted", "Networks:", "made"]
    assert network(engine, "plan") == plan
    engine.docker("network", "rm", "plan").ok()


def test_whose_network_namespace_it_is_and_which_ports_are_told(engine: Engine, clean: None) -> None:
    image = engine.image()
    for name, flags in (("own", []), ("bare", ["--network", "host"]), ("guest", ["--network", "container:own"])):
        exposed = [] if name == "guest" else ["--expose", "80"]
        engine.docker("run", "-d", "--name", name, *flags, *exposed, image, "sleep", "1000").ok()
    told = {
        name: json.loads(engine.docker("inspect", name).out)[0]["NetworkSettings"] for name in ("own", "bare", "guest")
    }
    assert told["guest"]["SandboxKey"] == told["guest"]["SandboxID"] == ""
    assert told["bare"]["SandboxKey"].endswith("/netns/default")
    assert len(told["bare"]["SandboxID"]) == 64
    assert "up0" in engine.run("nsenter", f"--net={told['bare']['SandboxKey']}", "ip", "link").ok().stdout
    assert [told[name]["Ports"] for name in ("own", "bare", "guest")] == [{"80/tcp": None}, {}, {}]
    options = network(engine, "bridge")["Options"]
    assert options["com.docker.network.driver.mtu"] == "1500"
    assert options["com.docker.network.bridge.host_binding_ipv4"] == "0.0.0.0"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--mac-address", "01:42:ac:11:00:99"], "invalid MAC address 01:42:ac:11:00:99"),
        (["--network", "container:own", "--mac-address", "02:42:ac:11:00:99"], "mac-address and the network mode"),
        (["--network", "container:own", "--link", "own:x"], "container type network can't be used with links"),
        (["--network", "container:"], "invalid container format container:<name|id>"),
    ],
)
def test_what_does_not_go_together_is_told_in_dockers_words(
    engine: Engine, clean: None, flags: list[str], said: str
) -> None:
    engine.docker("create", "--name", "own", engine.image(), "true").ok()
    refused = engine.docker("create", *flags, engine.image(), "true")
    assert refused.code == 1
    assert said in refused.stderr


NO_ENDPOINTS: list[tuple[Any, str]] = [
    (5, "EndpointConfig must be a JSON object"),
    ([], "EndpointConfig must be a JSON object"),
    ({"IPAMConfig": 5}, "EndpointConfig.IPAMConfig: must be object"),
    ({"IPAMConfig": {"IPv4Address": 5}}, "EndpointConfig.IPAMConfig.IPv4Address: must be str"),
    ({"IPAMConfig": {"IPv6Address": "fd00::5"}}, "no configured subnet"),
    ({"IPAMConfig": {"LinkLocalIPs": "169.254.1.1"}}, "LinkLocalIPs: must be array"),
    ({"Aliases": "foo"}, "Aliases: must be array"),
    ({"Aliases": [None]}, "Aliases"),
    ({"Aliases": ["a\0"]}, "NUL"),
    ({"MacAddress": ["02:42:ac:11:00:02"]}, "MacAddress: must be str"),
    ({"MacAddress": "03:42:ac:11:00:02"}, "invalid MAC address 03:42:ac:11:00:02"),
    ({"DriverOpts": {"a": 5}}, "DriverOpts"),
    ({"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.nosuch=1"}}, "nosuch"),
    ({"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=x"}}, "forwarding"),
    ({"GwPriority": 1.5}, "GwPriority"),
    ({"GwPriority": 10**30}, "GwPriority"),
]


def test_what_is_no_endpoint_is_told_in_a_sentence_and_nothing_is_made(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "--subnet", "10.83.0.0/24", "dock").ok()
    engine.docker("run", "-d", "--name", "moored", engine.image(), "sleep", "1000").ok()
    before = engine.leftovers()
    for settings, said in NO_ENDPOINTS:
        body = {"Container": "moored", "EndpointConfig": settings}
        status, told = engine.api("POST", "/networks/dock/connect", body)
        assert status == 400, (settings, told)
        assert said in told["message"], settings
    assert list(engine.api("GET", "/containers/moored/json")[1]["NetworkSettings"]["Networks"]) == ["bridge"]
    engine.assert_as_before(before)
    for ports in ({"80": 5}, {"80": [5]}, {"80": [{"HostIp": "::ffff:127.0.0.1", "HostPort": "8080"}]}):
        body = {"Image": engine.image(), "HostConfig": {"PortBindings": ports}}
        status, told = engine.api("POST", "/containers/create", body)
        if status == 201:
            status, told = engine.api("POST", f"/containers/{told['Id']}/start")
        assert status == 400, (ports, told)
    assert engine.api("POST", "/networks/dock/disconnect", {"Container": "moored", "Force": "x"})[0] == 400


def test_an_option_that_the_driver_does_not_know_is_kept_and_one_that_is_misspelt_is_told(
    engine: Engine, clean: None
) -> None:
    misspelt = "com.docker.network.bridge.enable_iccc"
    flags = ["-o", "fleet=north", "-o", "com.docker.network.bridge.enable_icc=false", "-o", f"{misspelt}=false"]
    assert engine.docker("network", "create", *flags, "odd").ok().stderr == ""
    right = "com.docker.network.bridge.enable_icc"
    assert network(engine, "odd")["Options"] == {"fleet": "north", right: "false", misspelt: "false"}
    told = engine.sampan("network", "create", *flags, "odder").ok().stderr
    assert told.startswith(f"WARNING: option {misspelt} has no effect: network driver 'bridge' does not know it")
    assert f"did you mean {right}?" in told
    assert "fleet" not in told
    assert misspelt in engine.sampan("doctor").stdout
    for name in ("macvlan", "internal"):
        assert engine.docker("network", "create", "-d", name, "-o", "fleet=north", name).code == 0
        assert network(engine, name)["Options"] == {"fleet": "north"}


def test_every_flag_is_kept_and_told(engine: Engine, clean: None) -> None:
    flags = ["--driver", "bridge", "--attachable", "--internal", "--ipv6", "--label", "colour=red"]
    flags += ["--subnet", "10.81.0.0/16", "--gateway", "10.81.0.254", "--ip-range", "10.81.5.0/24"]
    flags += ["--aux-address", "host1=10.81.5.1", "--aux-address", "host2=10.81.5.2", "--subnet", "fd81::/64"]
    flags += ["--opt", "com.docker.network.driver.mtu=1400", "--ipam-opt", "weather=fair", "--ipam-driver", "default"]
    ident = engine.docker("network", "create", *flags, "whole").out
    told = network(engine, "whole")
    assert told.pop("Created").startswith("20")
    assert told == {
        "Name": "whole",
        "Id": ident,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": True,
        "IPAM": {
            "Driver": "default",
            "Options": {"weather": "fair"},
            "Config": [
                {
                    "Subnet": "10.81.0.0/16",
                    "IPRange": "10.81.5.0/24",
                    "Gateway": "10.81.0.254",
                    "AuxiliaryAddresses": {"host1": "10.81.5.1", "host2": "10.81.5.2"},
                },
                {"Subnet": "fd81::/64", "Gateway": "fd81::1"},
            ],
        },
        "Internal": True,
        "Attachable": True,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {"com.docker.network.driver.mtu": "1400"},
        "Labels": {"colour": "red"},
    }
    engine.kill()
    engine.start()
    assert network(engine, "whole")["IPAM"] == told["IPAM"]


def test_addresses_come_from_the_range_and_leave_out_what_is_somebody_elses(engine: Engine, clean: None) -> None:
    flags = ["--subnet", "10.82.0.0/16", "--ip-range", "10.82.5.0/30", "--aux-address", "printer=10.82.5.1"]
    engine.docker("network", "create", *flags, "narrow").ok()
    for name in ("ada", "bob"):
        serve(engine, name, "--network", "narrow")
    found = {place(engine, name, "narrow")["IPAddress"] for name in ("ada", "bob")}
    assert found <= {"10.82.5.0", "10.82.5.2", "10.82.5.3"}
    serve(engine, "cid", "--network", "narrow")
    full = engine.docker("run", "--rm", "--network", "narrow", engine.image(), "true")
    assert full.code == 125
    assert "no available IPv4 addresses on this network's address pools: narrow" in full.stderr
    taken = engine.docker("run", "--rm", "--network", "narrow", "--ip", "10.82.5.1", engine.image(), "true")
    assert "Address already in use" in taken.stderr
    serve(engine, "dot", "--network", "narrow", "--ip", "10.82.200.1")  # of the subnet, not of the range
    assert reaches(engine, "ada", "10.82.200.1")
    engine.docker("rm", "-f", "bob").ok()
    serve(engine, "eve", "--network", "narrow")
    assert place(engine, "eve", "narrow")["IPAddress"] in found


@pytest.mark.parametrize("flags", [[], ["--internal"]], ids=["open", "internal"])
def test_who_is_on_one_subnet_of_a_network_reaches_who_is_on_another(
    engine: Engine, clean: None, flags: list[str]
) -> None:
    subnets = ["--subnet", "10.83.0.0/30", "--subnet", "10.84.0.0/24"]  # docker sends them in any order
    six = ["--ipv6", "--subnet", "fd83::/64", "--subnet", "fd84::/64"]
    engine.docker("network", "create", *flags, *subnets, *six, "wide").ok()
    serve(engine, "ada", "--network", "wide", "--ip", "10.83.0.2", "--ip6", "fd83::9")
    serve(engine, "bob", "--network", "wide", "--ip", "10.84.0.2", "--ip6", "fd84::9")
    one, other = place(engine, "ada", "wide"), place(engine, "bob", "wide")
    assert (one["IPAddress"], one["Gateway"]) == ("10.83.0.2", "10.83.0.1")
    assert (other["IPAddress"], other["Gateway"]) == ("10.84.0.2", "10.84.0.1")
    assert other["IPv6Gateway"] == "fd84::1"
    engine.wait_until(lambda: reaches(engine, "ada", "10.84.0.2"), "IPv4 goes across")
    engine.wait_until(lambda: reaches(engine, "bob", "10.83.0.2"), "IPv4 goes back")
    engine.wait_until(lambda: reaches(engine, "ada", "[fd84::9]"), "IPv6 goes across")


def test_a_network_of_ipv6_alone(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd85::/64", "six").ok()
    told = network(engine, "six")
    assert (told["EnableIPv4"], told["EnableIPv6"]) == (False, True)
    assert told["IPAM"]["Config"] == [{"Subnet": "fd85::/64", "Gateway": "fd85::1"}]
    for name in ("ada", "bob"):
        serve(engine, name, "--network", "six")
    there = place(engine, "bob", "six")
    assert there["IPAddress"] == ""
    engine.wait_until(lambda: reaches(engine, "ada", f"[{there['GlobalIPv6Address']}]"), "IPv6 arrives")


def test_who_has_switched_ipv6_off_has_no_address_of_it(engine: Engine, clean: None) -> None:
    """Nor is anybody sent to one by the container's name."""
    engine.docker("network", "create", "--ipv6", "--subnet", "fd86::/64", "both").ok()
    serve(engine, "ada", "--network", "both")
    serve(engine, "bob", "--network", "both", "--sysctl", "net.ipv6.conf.all.disable_ipv6=1")
    assert place(engine, "ada", "both")["GlobalIPv6Address"]
    there = place(engine, "bob", "both")
    assert (there["GlobalIPv6Address"], there["IPv6Gateway"]) == ("", "")
    assert there["IPAddress"]
    engine.wait_until(lambda: reaches(engine, "ada", "bob"), "it is reached by its name")
    assert "fd86" not in engine.docker("exec", "ada", "busybox", "nslookup", "bob").stdout


@pytest.mark.parametrize("version", [4, 6])
def test_no_network_is_where_the_host_has_a_route(version: int) -> None:
    flags = ["--ipv6", "--ipv4=false"] if version == 6 else []
    pools = {"default_address_pools": [{"base": "10.91.0.0/23", "size": 24}, {"base": "fd91::/63", "size": 64}]}
    free, taken = {4: ("10.91.1.0/24", "10.91.0.0/28"), 6: ("fd91:0:0:1::/64", "fd91::7:0/112")}[version]
    with Engine(network=pools) as other:
        other.run("ip", "route", "add", taken, "dev", "lo")
        other.docker("network", "create", *flags, "beside").ok()
        assert network(other, "beside")["IPAM"]["Config"][0]["Subnet"] == free
        said = other.docker("network", "create", *flags, "nowhere")
        assert said.code == 1
        assert "non-overlapping" in said.stderr


def test_a_network_in_use_stays(engine: Engine, clean: None) -> None:
    ident = engine.docker("network", "create", "used").out
    serve(engine, "ada", "--network", "used")
    refused = engine.docker("network", "rm", "used")
    assert refused.code == 1
    member = json.loads(engine.docker("inspect", "ada").out)[0]["Id"][:12]
    what = f'error while removing network: network used id {ident} has active endpoints (name:"ada" id:"{member}")'
    assert what in refused.stderr
    assert "bridge is a pre-defined network and cannot be removed" in engine.docker("network", "rm", "bridge").stderr
    engine.docker("network", "disconnect", "used", "ada").ok()
    engine.docker("network", "rm", "used").ok()
    assert "network used not found" in engine.docker("network", "inspect", "used").stderr


def test_a_stopped_container_finds_its_network_again_by_name(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "again").ok()
    serve(engine, "ada", "--network", "again")
    engine.docker("stop", "-t", "0", "ada").ok()
    engine.docker("network", "rm", "again").ok()
    refused = engine.docker("start", "ada")
    assert "network again not found" in refused.stderr
    ident = engine.docker("network", "create", "again").out
    engine.docker("start", "ada").ok()
    assert place(engine, "ada", "again")["NetworkID"] == ident


def test_lists_and_prunes_by_filters(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "--label", "keep=yes", "red").ok()
    engine.docker("network", "create", "--label", "keep=no", "--driver", "internal", "green").ok()
    engine.docker("network", "create", "blue").ok()
    serve(engine, "ada", "--network", "blue")

    def listed(*filters: str) -> list[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return engine.docker("network", "ls", *words, "--format", "{{.Name}}").out.split()

    assert listed() == ["blue", "bridge", "green", "host", "none", "red"]
    assert listed("driver=internal") == ["green"]
    assert listed("driver=null") == ["none"]
    assert listed("name=re") == ["green", "red"]
    assert listed("name=^re") == ["red"]
    assert listed("label=keep", "label=keep=no") == ["green"]
    assert listed("type=builtin") == ["bridge", "host", "none"]
    assert listed("type=custom", "dangling=true") == ["green", "red"]
    assert listed("scope=local", "id=" + network(engine, "blue")["Id"][:10]) == ["blue"]
    assert engine.docker("network", "ls", "--filter", "type=odd").code == 1
    assert engine.docker("network", "prune", "-f", "--filter", "label!=keep").out == ""
    engine.docker("network", "prune", "-f", "--filter", "until=1h").ok()
    assert listed("type=custom") == ["blue", "green", "red"]
    assert engine.docker("network", "prune", "-f", "--filter", "label=keep=no").out.split("\n") == [
        "Deleted Networks:",
        "green",
    ]
    assert engine.docker("network", "prune", "-f").out.split("\n") == ["Deleted Networks:", "red"]
    assert listed("type=custom") == ["blue"]
    engine.docker("stop", "-t", "0", "ada").ok()
    assert listed("dangling=true") == ["blue"]
    assert engine.docker("network", "prune", "-f").out.split("\n") == ["Deleted Networks:", "blue"]
    assert "network blue not found" in engine.docker("start", "ada").stderr


def test_a_container_in_anothers_network_goes_where_that_one_goes(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "shore").ok()
    serve(engine, "owner", "--network", "shore", "-p", "8090:80")
    guest = ["--name", "guest", "--network", "container:owner", engine.image(), "sleep", "1000"]
    engine.docker("run", "-d", *guest).ok()
    engine.wait_until(lambda: reaches(engine, "guest", "127.0.0.1"), "the guest reaches its host's server")
    inside = "cat /etc/hosts /etc/resolv.conf; ls /sys/class/net"
    assert (
        engine.docker("exec", "guest", "sh", "-c", inside).out == engine.docker("exec", "owner", "sh", "-c", inside).out
    )
    assert json.loads(engine.docker("inspect", "guest").out)[0]["NetworkSettings"]["Networks"] == {}
    engine.docker("network", "connect", "bridge", "owner").ok()
    assert engine.docker("exec", "guest", "ls", "/sys/class/net").out.split() == ["eth0", "eth1", "lo"]
    engine.docker("restart", "-t", "0", "owner").ok()  # as in Docker, the guest stays in the old namespace
    assert engine.docker("exec", "guest", "true").code == 0
    engine.docker("restart", "-t", "0", "guest").ok()
    assert engine.docker("exec", "guest", "ls", "/sys/class/net").out.split() == ["eth0", "eth1", "lo"]
    engine.docker("stop", "-t", "0", "owner", "guest").ok()
    assert "cannot join network of a non running container" in engine.docker("start", "guest").stderr


def test_none_can_be_left_for_another(engine: Engine, clean: None) -> None:
    engine.docker("network", "create", "--subnet", "10.86.0.0/24", "shore").ok()
    engine.docker("run", "-d", "--name", "ada", "--network", "none", engine.image(), "sleep", "1000").ok()
    engine.docker("network", "disconnect", "none", "ada").ok()
    engine.docker("network", "connect", "shore", "ada").ok()
    assert engine.docker("exec", "ada", "ls", "/sys/class/net").out.split() == ["eth0", "lo"]
    engine.docker("network", "disconnect", "shore", "ada").ok()
    engine.docker("restart", "-t", "0", "ada").ok()  # on no network at all
    assert engine.docker("exec", "ada", "ls", "/sys/class/net").out.split() == ["lo"]
    engine.docker("network", "connect", "shore", "ada").ok()
    assert engine.docker("exec", "ada", "ls", "/sys/class/net").out.split() == ["eth0", "lo"]


CREATIONS = [
    (["bad/name"], "invalid network name"),
    (["host"], "operation is not permitted on predefined host network"),
    (["--subnet", "10.80.0.0/24", "taken"], "network with name taken already exists"),
    (["--subnet", "10.80.0.128/25", "x"], "Pool overlaps with other one on this address space"),
    (["--subnet", "10.0.0.0/8", "x"], "Pool overlaps with other one on this address space"),
    (["--subnet", "10.91.0.7/24", "x"], "invalid subnet 10.91.0.7/24: it should be 10.91.0.0/24"),
    (["--subnet", "10.91.0.0", "x"], "invalid subnet 10.91.0.0: invalid CIDR block notation"),
    (["--subnet", "10.91.0.0/24", "--gateway", "10.92.0.1", "x"], "no matching subnet for gateway 10.92.0.1"),
    (["--subnet", "10.91.0.0/24", "--ip-range", "10.92.0.0/28", "x"], "no matching subnet for range 10.92.0.0/28"),
    (["--subnet", "10.91.0.0/24", "--aux-address", "a=10.92.0.1", "x"], "no matching subnet for aux-address 10.92.0.1"),
    (["--subnet", "10.91.0.0/24", "--gateway", "10.91.0.0", "x"], "invalid gateway 10.91.0.0"),
    (["--subnet", "10.91.0.0/24", "--aux-address", "a=10.91.0.1", "x"], "Address already in use"),
    (["--ipv4=false", "x"], "IPv4 or IPv6 must be enabled"),
    (["--ipv4=false", "--ipv6", "--subnet", "10.91.0.0/24", "x"], "IPv4 is switched off"),
    (["--config-only", "--internal", "x"], "configuration network can only contain network specific fields"),
    (["--config-only", "--config-from", "taken", "x"], "cannot depend on another configuration network"),
    (["--config-from", "taken", "x"], 'configuration network "taken" does not exist'),
    (["--config-from", "taken", "--label", "a=b", "x"], "user specified configurations are not supported if"),
    (["--config-from", "taken", "-o", "a=b", "x"], "network driver options are not supported if"),
    (["--scope", "swarm", "x"], "only local ones can be made"),
    (["--driver", "nonesuch", "x"], "nonesuch"),
    (["--driver", "host", "x"], 'only one instance of "host" network is allowed'),
    (["--driver", "null", "x"], 'only one instance of "null" network is allowed'),
    (["--ipam-driver", "nonesuch", "x"], "IPAM driver 'nonesuch' is not known"),
    (["--opt", "com.docker.network.driver.mtu=large", "x"], "com.docker.network.driver.mtu"),
]


@pytest.fixture(scope="module")
def taken(engine: Engine) -> Iterator[None]:
    engine.docker("network", "create", "--subnet", "10.80.0.0/24", "taken").ok()
    yield
    engine.docker("network", "rm", "taken").ok()


@pytest.mark.parametrize(("words", "sentence"), CREATIONS, ids=[" ".join(words) for words, _ in CREATIONS])
def test_a_network_that_cannot_be_is_refused_and_leaves_nothing(
    engine: Engine, taken: None, words: list[str], sentence: str
) -> None:
    before = engine.leftovers()
    refused = engine.docker("network", "create", *words)
    assert refused.code == 1
    assert sentence in refused.stderr
    assert "x" not in engine.docker("network", "ls", "--format", "{{.Name}}").out.split()
    engine.assert_as_before(before)

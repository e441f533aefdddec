"""``cni``: any plugin of the Container Network Interface as a network.

A network names its configuration with one of two options: ``conf``, the ``name`` of one in the directory of
configurations, or ``config``, the configuration itself as JSON. Its plugins give the addresses, and what they keep
apart or let through is theirs: nothing of it is this driver's.

Plugins want the network namespace for DEL, too, and the engine lets go of a sandbox before it leaves networks: while an
endpoint is joined, the driver holds the namespace by a mount of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.steps import step
from sampan.drivers.types import Check, EndpointSpec, Host, NetworkFeatures, NetworkSpec, PortBinding
from sampan.errors import Conflict, Invalid, SampanError, Unsupported
from sampan.linux import conntrack, links, mounts, netns
from sampan.linux.netlink import Netlink
from sampan_network import inside, values
from sampan_network.cni import answers, chain, configuration
from sampan_network.cni.chain import Chain
from sampan_network.cni.configuration import Configuration
from sampan_network.cni.invocation import Endpoint, Programs
from sampan_network.cni.records import Record, Records

log = logging.getLogger(__name__)

CONF, CONFIG = "conf", "config"


class Cni(NetworkDriver):
    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        """``patience``: seconds that one plugin may take before it is killed."""

        plugin_dirs: list[str] = msgspec.field(default_factory=lambda: ["/usr/lib/cni", "/opt/cni/bin"])
        conf_dir: str = "/etc/cni/net.d"
        patience: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        assert isinstance(options, Cni.Options)
        self._conf_dir = Path(options.conf_dir)
        self._programs = Programs([Path(each) for each in options.plugin_dirs], options.patience)
        self._records = Records(host.data_root / "endpoints")
        self._holds = host.exec_root / "namespaces"
        self._lock = threading.Lock()  # who has which port
        self._names: dict[str, str] = {}  # of the networks, for their plugins, by their ids

    def check(self) -> Check:
        if os.geteuid() != 0:
            return Check(False, "CNI plugins need root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")
        for directory in self._programs.directories:
            if directory.is_dir() and any(os.access(path, os.X_OK) for path in directory.iterdir()):
                return Check(True)
        where = ", ".join(map(str, self._programs.directories))
        return Check(
            False,
            f"there are no CNI plugins in {where}: install them (Debian's package is containernetworking-plugins), or"
            " name their directory in network.options.cni.plugin_dirs",
        )

    def features(self) -> NetworkFeatures:
        known = (CONF, CONFIG)
        return NetworkFeatures(sandbox="own", publish=True, names=True, macs=False, isolates=False, options=known)

    def validate(self, network: NetworkSpec) -> None:
        values.check_known(network, (CONF, CONFIG))
        if network.internal:
            raise Unsupported(
                f"network {network.name!r} cannot be internal: where a CNI network leads is for its plugins to say"
            )
        for plugin in self._configuration(network).plugins:
            self._programs.find(plugin["type"])

    def create_network(self, network: NetworkSpec) -> None:
        name = self._configuration(network).name
        with self._lock:
            if any(other == name and ident != network.id for ident, other in self._names.items()):
                raise Conflict(
                    f"network {network.name!r} cannot have the CNI configuration {name!r}: another network has it"
                )
            self._names[network.id] = name

    def remove_network(self, network: NetworkSpec) -> None:
        with self._lock:
            self._names.pop(network.id, None)

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> Sequence[str]:
        if sandbox is None:
            raise Unsupported(f"driver {network.driver!r} puts nobody into the host's own network namespace")
        made = self._configuration(network)
        if endpoint.mac and not made.able("mac"):
            raise Unsupported(
                f"network {network.name!r} gives no MAC addresses: no CNI plugin of it has the capability mac"
            )
        if _present(sandbox, endpoint.interface):
            raise Conflict(
                f"network {network.name!r} cannot be joined as {endpoint.interface!r}: that name is taken inside"
            )
        record = Record(
            network=network.id,
            container=endpoint.container,
            interface=endpoint.interface,
            configuration=made,
            mac=endpoint.mac,
            wanted=endpoint.addresses,
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self._undo, endpoint.id)
            self._records.put(endpoint.id, record)
            self._hold(endpoint.id, sandbox)
            given = self._add(network, endpoint, record)
            undo.pop_all()
        return given.addresses

    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        self._delete(endpoint.id)

    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        with self._lock:
            record = self._record(network, endpoint)
            chain.check_publishes(record.configuration, network.name)
            for ident, other in self._records.all().items():
                if ident != endpoint.id:
                    _check_free(ports, other.ports)
            self._set_ports(endpoint.id, record, dict.fromkeys((*record.ports, *ports)))

    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        with self._lock:
            record = self._records.get(endpoint.id)
            if record and set(record.ports) & set(ports):
                self._set_ports(endpoint.id, record, [port for port in record.ports if port not in ports])

    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        record = self._records.get(endpoint.id)
        if sandbox is None or record is None or record.result is None:
            return
        with step("give or take its default route", "link", endpoint.interface):
            inside.reroute(sandbox, endpoint, _ways(answers.given(record.result, endpoint.interface)))

    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        for network in networks.values():
            with _reported(f"network {network.name!r}"):
                self.create_network(network)
        known = {one.endpoint.id: one for one in joined if one.network in networks}
        for ident in self._records.all():
            if ident not in known:
                self._undo(ident)
        kept = self._records.all()
        for path in list(self._holds.iterdir()) if self._holds.is_dir() else ():
            if path.name not in kept:
                self._release(path.name)
        for one in known.values():
            with _reported(f"container {one.endpoint.container[:12]} on network {networks[one.network].name!r}"):
                self._rejoin(networks[one.network], one)

    # ── configurations ─────────────────────────────────────────────────────────────────────────────────────────────

    def _configuration(self, network: NetworkSpec) -> Configuration:
        conf, config = network.options.get(CONF), network.options.get(CONFIG)
        if bool(conf) == bool(config):
            raise Invalid(
                f"network {network.name!r} needs either the option {CONF}, the name of a configuration in"
                f" {self._conf_dir}, or the option {CONFIG}, a configuration itself"
            )
        if conf:
            return configuration.find(self._conf_dir, conf)
        return configuration.parse(config or "", f"option {CONFIG}", name=f"{network.name}-{self.host.instance}")

    # ── one endpoint ───────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, network: NetworkSpec, endpoint: EndpointSpec, record: Record) -> answers.Given:
        plugins = [plugin["type"] for plugin in record.configuration.plugins]
        one = self._chain(endpoint.id, record)
        with step("add to the CNI network", "plugin", ", ".join(plugins)):
            result = one.add()
            self._records.put(endpoint.id, msgspec.structs.replace(record, result=result))
            given = answers.given(result, endpoint.interface)
            if not endpoint.default_route:
                inside.reroute(self._held(endpoint.id), endpoint, _ways(given))
        return given

    def _delete(self, ident: str) -> None:
        """Idempotent. What was added whole and cannot be deleted stays recorded: the next daemon tries again."""
        record = self._records.get(ident)
        if record is None:
            return
        failures = self._chain(ident, record).delete()
        if failures and record.result is not None:
            raise failures[0]
        for failure in failures:
            log.warning("after an ADD that was not finished: %s", failure.message)
        self._release(ident)
        self._records.remove(ident)

    def _undo(self, ident: str) -> None:
        with _reported(f"what was added to a CNI network for endpoint {ident[:12]}", "deleted"):
            self._delete(ident)

    def _rejoin(self, network: NetworkSpec, one: Joined) -> None:
        """What is right is left alone; a link that is lost is added again, with ports that are lost."""
        record = self._records.get(one.endpoint.id)
        if record is None or not _present(one.sandbox, one.endpoint.interface):
            self._delete(one.endpoint.id)
            given = self.join(network, one.endpoint, one.sandbox)
            if set(given) != set(one.endpoint.addresses):
                log.error(
                    "container %s has other addresses on network %s than before: %s in place of %s",
                    *(one.endpoint.container[:12], network.name, given, one.endpoint.addresses),
                )
            if one.ports:
                self.publish(network, one.endpoint, one.ports)
            return
        self._hold(one.endpoint.id, one.sandbox)
        if one.ports and not self._chain(one.endpoint.id, record).published():
            with self._lock:
                self._set_ports(one.endpoint.id, record, one.ports)

    def _set_ports(self, ident: str, record: Record, ports: Iterable[PortBinding]) -> None:
        """Plugins know no way to add one port to others: all are taken back, and all made again."""
        wanted = msgspec.structs.replace(record, ports=tuple(ports))
        _forget_flows({*record.ports, *wanted.ports})
        self._chain(ident, record).unpublish()
        self._records.put(ident, wanted)
        if not wanted.ports:
            return
        try:
            self._chain(ident, wanted).publish()
        except SampanError:
            with contextlib.suppress(SampanError):
                self._chain(ident, wanted).unpublish()
            self._records.put(ident, record)
            if record.ports:
                self._chain(ident, record).publish()
            raise
        _forget_flows(set(wanted.ports))

    def _record(self, network: NetworkSpec, endpoint: EndpointSpec) -> Record:
        record = self._records.get(endpoint.id)
        if record is None:
            raise Conflict(f"container {endpoint.container[:12]} has not joined the network {network.name!r}")
        return record

    def _chain(self, ident: str, record: Record) -> Chain:
        held = self._held(ident)
        namespace = str(held) if _is_namespace(held) else ""
        return Chain(self._programs, Endpoint(record.container, namespace, record.interface), record)

    # ── namespaces ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _held(self, ident: str) -> Path:
        return self._holds / ident

    def _hold(self, ident: str, sandbox: Path) -> None:
        path = self._held(ident)
        if _is_namespace(path):
            return
        self._holds.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.touch(mode=0o444)
        mounts.mount(str(sandbox), path, None, mounts.MS_BIND)

    def _release(self, ident: str) -> None:
        path = self._held(ident)
        with contextlib.suppress(OSError):
            mounts.detach(path)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._holds.rmdir()


def _present(sandbox: Path, interface: str) -> bool:
    with netns.inside(sandbox, Netlink) as inner:
        return links.link(inner, interface) is not None


def _is_namespace(path: Path) -> bool:
    """Is it on the kernel's own file system of namespaces (nsfs), and not on its directory's?"""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _ways(given: answers.Given) -> list[inside.Way]:
    return [inside.Way(version, gateway) for version, gateway in given.ways.items()]


def _check_free(wanted: Sequence[PortBinding], taken: Sequence[PortBinding]) -> None:
    for port in wanted:
        for other in taken:
            if (port.protocol, port.host_port) == (other.protocol, other.host_port) and _meet(port, other):
                host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
                raise Conflict(f"Bind for {host}:{port.host_port} failed: port is already allocated")


def _meet(one: PortBinding, other: PortBinding) -> bool:
    addresses = [ipaddress.ip_address(each.host_ip) for each in (one, other)]
    if len({each.version for each in addresses}) > 1:
        return False
    return addresses[0] == addresses[1] or any(each.is_unspecified for each in addresses)


def _forget_flows(ports: set[PortBinding]) -> None:
    """Have clients that keep sending datagrams find the new place."""
    numbers = {port.host_port for port in ports if port.protocol == "udp"}
    if numbers:
        with contextlib.suppress(SampanError, OSError):
            conntrack.forget_udp(numbers)


@contextlib.contextmanager
def _reported(what: str, done: str = "restored") -> Iterator[None]:
    """One thing that cannot be restored must not keep the others from it."""
    try:
        yield
    except (SampanError, OSError) as error:
        log.error("%s could not be %s: %s", what, done, error)

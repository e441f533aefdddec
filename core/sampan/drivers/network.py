"""The network contract, in the words of libnetwork's Container Network Model.

A *sandbox* is a container's network namespace: the engine makes and removes it, and hands a driver its path. An
*endpoint* joins a sandbox to a *network*. The engine's controller owns all records and all addresses; a driver turns
them into links, routes and firewall entries, and keeps nothing that it could not be told again::

    create_network(network)
        join(network, endpoint, sandbox) ──► publish(network, endpoint, ports)
                                             unpublish(network, endpoint, ports)
                                         ──► route(network, endpoint, sandbox)
        leave(network, endpoint)
    remove_network(network)

For who knows libnetwork's operations: ``join`` is to create an endpoint and to join it, ``leave`` to leave and to
delete it. To program an endpoint's external connectivity is ``route``, with ``default_route``, and ``publish``; to
revoke it is ``unpublish``, and ``route`` without.

A container has one way out at a time. When it is connected to one more network, or disconnected, another endpoint may
become it: the engine takes the ports back there and publishes them here, and calls ``route`` for both.

Every create has a remove that may be called twice, or for something that was never made, or half made. After the
daemon was killed anywhere, ``restore`` is called once, before anything else, with all that is known: the driver makes
the kernel agree (missing pieces are made again, pieces of this instance that nobody knows are removed) and touches
nothing of running containers whose pieces are right. What a driver makes in the kernel carries ``host.instance`` in
its name, and nothing else is ever touched.

When a sandbox goes away, the kernel removes the links inside it, and their peers with them: ``leave`` is then called
with the sandbox gone, and releases only what is left on the host.

Calls that name the same network's endpoint come one after another; others come at once from several threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from sampan.drivers.types import (
    CONTRACT_VERSION,
    Check,
    EndpointSpec,
    Finding,
    Host,
    NetworkFeatures,
    NetworkSpec,
    PortBinding,
)
from sampan.errors import Invalid


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that the kernel is known to need: what ``restore`` gets for each running container."""

    network: str
    endpoint: EndpointSpec
    sandbox: Path
    ports: tuple[PortBinding, ...] = ()


class NetworkDriver(ABC):
    """One kind of network. Made once per daemon: ``Driver(host, options)``; the constructor touches nothing.

    ``Options`` is a ``msgspec.Struct`` with ``forbid_unknown_fields=True``: the keys under ``network.options.NAME``
    in ``config.yaml``. The methods that have a body here are for drivers that need nothing done there (``none``).
    """

    contract: ClassVar[int] = CONTRACT_VERSION

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        self.host = host
        self.options = options

    @abstractmethod
    def check(self) -> Check:
        """Can this driver work on this machine? Changes nothing."""

    @abstractmethod
    def features(self) -> NetworkFeatures:
        """What this driver can do; constant."""

    def validate(self, network: NetworkSpec) -> None:
        """Refuse a network that cannot be: ``Invalid`` names the option. Called before anything is allocated."""
        if network.options:
            raise Invalid(f"network driver {network.driver!r} knows no option {min(network.options)!r}")

    def create_network(self, network: NetworkSpec) -> None:
        """Make what the network needs on the host before its first endpoint. Idempotent for an equal spec."""
        return

    def remove_network(self, network: NetworkSpec) -> None:
        """Remove all that ``create_network`` made. Idempotent."""
        return

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> Sequence[str] | None:
        """Put the endpoint's interface, addresses and routes into the sandbox (None: the host's own namespace).

        If it fails, nothing of it is left. ``Conflict`` if the interface name is taken in the sandbox. A driver to
        which the engine gives no addresses (``NetworkFeatures.addresses``) may find some itself: it returns them
        (``address/prefix``, IPv4 first), and they are in the endpoint's spec from then on. Others return None.
        """
        return None

    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        """Remove the endpoint; ``sandbox`` is None if it is gone or going, and its links with it. Idempotent."""
        return

    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        """Make the ports reachable: all of them, or none and ``Conflict`` naming the first that is taken.

        The engine has already kept clear of ports that it published itself and of ports with a listener on the host.
        What is published on IPv6 for an endpoint that has only IPv4 is not among them: the engine carries that itself.
        """
        return

    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        """Take the ports back. Idempotent."""
        return

    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        """The endpoint, which stays joined, is the container's way out from now on, or is it no longer: make the
        default routes through its interface what ``endpoint.default_route`` says. Idempotent.

        The endpoint that was the way out is told first. Default routes through other interfaces are not its concern.
        """
        return

    def examine(
        self, network: NetworkSpec, endpoint: EndpointSpec | None = None, ports: Sequence[PortBinding] = ()
    ) -> Sequence[Finding]:
        """What ``sampan doctor`` asks: is all that this driver made on the host for the network, for one endpoint and
        its published ports still there, and does the host let packets through? Changes nothing.

        In the order in which a packet on its way out of the endpoint would meet it. What is fine is told, too.
        """
        return ()

    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        """Make the kernel agree with these networks (by id) and endpoints of this driver, after any crash."""
        return

"""New networks: what a request or the configuration wants, completed with what the engine chooses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sampan.config import NetworkConfig
from sampan.drivers.types import NetworkSpec, Subnet
from sampan.errors import Forbidden, Invalid, NotFound
from sampan.networks import configurations, defaults, options, subnets
from sampan.networks.records import Records
from sampan.networks.request import Request
from sampan.plugins import Drivers
from sampan.types import Network

_ALIASES = {"null": "none"}
"""Docker calls that driver by its first name."""
_NO_DRIVER = "none"


class Maker:
    """Composes records; the kernel and the database are not touched."""

    def __init__(self, config: NetworkConfig, drivers: Drivers, records: Records) -> None:
        self._config = config
        self._drivers = drivers
        self._records = records

    def requested(self, request: Request) -> Network:
        """``Forbidden`` if a subnet is in use or only one network of the driver may be; ``Exhausted`` pools."""
        configurations.check(request)
        if request.config_only:
            return self._configuration(request)
        if request.config_from:
            request = configurations.applied(request, self._records.all())
        name = _ALIASES.get(request.driver, request.driver) or self._config.driver
        try:
            features = self._drivers.network(name).features()
        except NotFound as error:
            raise NotFound(f'plugin "{name}" not found: {error.message}') from None  # what Docker's clients know
        if features.single:
            raise Forbidden(f'only one instance of "{request.driver or name}" network is allowed')
        if request.subnets and not features.addresses:
            raise Invalid(f"network driver {name!r} gives no addresses: {request.name} can have no subnet")
        subnets.check_free(request.subnets, self._records.subnets())
        ranges = self._completed(request) if features.addresses else ()
        drivers, others = options.divided(request.options, features.options)
        spec = NetworkSpec(
            id=secrets.token_hex(32),
            name=request.name,
            driver=name,
            subnets=ranges,
            internal=request.internal or features.internal,
            options=drivers,
        )
        return _recorded(request, spec, others, [one.subnet for one in ranges if one not in request.subnets])

    def _configuration(self, request: Request) -> Network:
        spec = NetworkSpec(id=secrets.token_hex(32), name=request.name, driver=_NO_DRIVER, subnets=request.subnets)
        return _recorded(request, spec, request.options)

    def default(self, wanted: defaults.Default) -> Network:
        """One of the networks that are always there."""
        driver = self._drivers.network(wanted.driver)
        ranges: tuple[Subnet, ...] = ()
        if driver.features().addresses:
            ranges = subnets.read([{"Subnet": wanted.subnet}]) if wanted.subnet else (self._pick(4, ()),)
        spec = NetworkSpec(
            id=secrets.token_hex(32),
            name=wanted.name,
            driver=wanted.driver,
            subnets=ranges,
            internal=driver.features().internal,
            default=True,
            options=wanted.options,
        )
        return Network(spec=defaults.acceptable(spec, driver), created=_now())

    def _completed(self, request: Request) -> tuple[Subnet, ...]:
        """The request's subnets, and one of the pools for each IP version that is wanted and has none."""
        given = list(request.subnets)
        for version, asked in ((4, request.ipv4), (6, request.ipv6)):
            if asked and not any((":" in one.subnet) == (version == 6) for one in given):
                given.append(self._pick(version, given))
        return tuple(sorted(given, key=lambda one: ":" in one.subnet))

    def _pick(self, version: int, besides: tuple[Subnet, ...] | list[Subnet]) -> Subnet:
        taken = [*self._records.ranges(), *subnets.host_routes(version), *(subnets.parsed(one) for one in besides)]
        return subnets.choose(self._config.default_address_pools, version, taken)


def _recorded(request: Request, spec: NetworkSpec, others: Mapping[str, str], picked: Sequence[str] = ()) -> Network:
    """``others`` are options that no driver sees, ``picked`` the subnets that nobody asked for."""
    return Network(
        spec=spec,
        created=_now(),
        labels=request.labels,
        ipv4=request.ipv4,
        ipv6=request.ipv6,
        attachable=request.attachable,
        ipam_options=request.ipam_options,
        other_options=dict(others),
        config_only=request.config_only,
        config_from=request.config_from,
        picked=list(picked),
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

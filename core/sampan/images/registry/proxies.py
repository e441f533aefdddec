"""Proxies, by the environment of the daemon, as dockerd reads it: HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

https://pkg.go.dev/golang.org/x/net/http/httpproxy
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The proxy's URL, which may have a name and password in it; None: without one."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
    found = _variable(f"{parts.scheme}_proxy", environment)
    if not found or _direct(host, port, _variable("no_proxy", environment)):
        return None
    return found if "://" in found else f"http://{found}"


def told(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What ``docker info`` shows, without names and passwords."""
    found = {name: _variable(name, environment) for name in ("http_proxy", "https_proxy", "no_proxy")}
    return {name: re.sub(r"//[^/@]*@", "//xxxxx:xxxxx@", value) for name, value in found.items()}


def _variable(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _direct(host: str, port: int, exceptions: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(each.strip().lower(), host, port, address) for each in exceptions.split(",") if each.strip())


def _matches(rule: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if rule == "*":
        return True
    if address is not None and "/" in rule:
        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    if named := re.fullmatch(r"(.+):([0-9]+)", rule):
        if _address(rule) is None and int(named[2]) != port:
            return False
        rule = rule if _address(rule) else named[1]
    rule = rule.strip("[]").removeprefix("*")
    if address is not None:
        return _address(rule) == address
    return (host == rule.lstrip(".") and not rule.startswith(".")) or host.endswith("." + rule.lstrip("."))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None

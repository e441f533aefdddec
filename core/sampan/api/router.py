"""Finds the handler of a request: declared by decorators in ``nouns/``, one table per process.

A handler takes a :class:`Call` and returns an answer, a JSON value or None (204). A plain function runs in a worker
thread; a coroutine function, or one declared ``inline`` because it never waits, runs on the event loop. A generator
runs in a worker thread, too; what it yields first is the answer, and then it goes on for itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.api.call import Call

OLDEST = (1, 24)
NEWEST = (1, 50)

Handler = Callable[[Call], Any]

_VERSION = re.compile(r"/v(\d{1,4})\.(\d{1,4})(/.*)")


class Route:
    """``streams``: the handler reads the body itself while it arrives."""

    __slots__ = ("goes_on", "handler", "inline", "is_async", "streams")

    def __init__(self, handler: Handler, *, inline: bool, streams: bool) -> None:
        self.handler = handler
        self.inline = inline
        self.streams = streams
        self.is_async = inspect.iscoroutinefunction(handler)
        self.goes_on = inspect.isgeneratorfunction(handler)


class _Template(NamedTuple):
    """``/containers/{id}/json``, cut at its one parameter."""

    prefix: str
    parameter: str
    suffix: str
    route: Route
    slashes: bool

    def match(self, path: str) -> str:
        """What stands in the parameter's place, or nothing."""
        if not path.startswith(self.prefix) or not path.endswith(self.suffix):
            return ""
        value = path[len(self.prefix) : len(path) - len(self.suffix)]
        return value if self.slashes or "/" not in value else ""


class Routes:
    """Paths are written as in the API's description: ``/containers/{id}/json``. ``{id}`` is one part of a path, but a
    container's, which may be called by a link of another (``web/db``); ``{name}`` may contain slashes, as names of
    images do."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._templates: dict[tuple[str, str], list[_Template]] = {}
        self.declared: set[tuple[str, str]] = set()

    def get(self, path: str, *, inline: bool = False) -> Callable[[Handler], Handler]:
        return self._declare("GET", path, inline, False)

    def head(self, path: str, *, inline: bool = False) -> Callable[[Handler], Handler]:
        return self._declare("HEAD", path, inline, False)

    def post(self, path: str, *, streams: bool = False) -> Callable[[Handler], Handler]:
        return self._declare("POST", path, False, streams)

    def put(self, path: str, *, streams: bool = False) -> Callable[[Handler], Handler]:
        return self._declare("PUT", path, False, streams)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        return self._declare("DELETE", path, False, False)

    def add(self, method: str, path: str, route: Route) -> None:
        if (method, path) in self.declared:
            raise ValueError(f"{method} {path} is declared twice")
        self.declared.add((method, path))
        if "{" not in path:
            self._exact[method, path] = route
            return
        prefix, _, rest = path.partition("{")
        parameter, _, suffix = rest.partition("}")
        found = self._templates.setdefault((method, prefix.split("/", 2)[1]), [])
        slashes = parameter == "name" or prefix == "/containers/"
        found.append(_Template(prefix, parameter, suffix, route, slashes))
        found.sort(key=lambda template: -len(template.suffix))  # /images/{name}/json before /images/{name}

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        route = self._exact.get((method, path))
        if route:
            return route, {}
        if not path.startswith("/"):
            return None
        for template in self._templates.get((method, path.split("/", 2)[1]), ()):
            if value := template.match(path):
                return template.route, {template.parameter: value}
        return None

    def _declare(self, method: str, path: str, inline: bool, streams: bool) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.add(method, path, Route(handler, inline=inline, streams=streams))
            return handler

        return declare


_COPIED_WITH = (1, 22)
_COPIED = re.compile(r"/images/(?:load|get|.+/get|.+/json)")
"""skopeo and podman of today's distributions move images with a version that is older than any other client's."""


class UnknownVersion(Exception):
    """The client speaks a version that this engine does not; the message is dockerd's."""


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """``/v1.43/info`` → ``(1, 43), /info``; without a version the newest is meant. Raises :class:`UnknownVersion`."""
    match = _VERSION.fullmatch(path)
    if not match:
        return NEWEST, path
    version = (int(match[1]), int(match[2]))
    named = f"client version {version[0]}.{version[1]} is too"
    if version > NEWEST:
        raise UnknownVersion(f"{named} new. Maximum supported API version is {NEWEST[0]}.{NEWEST[1]}")
    if version < OLDEST and not (version >= _COPIED_WITH and _COPIED.fullmatch(match[3])):
        raise UnknownVersion(
            f"{named} old. Minimum supported API version is {OLDEST[0]}.{OLDEST[1]}, please upgrade your client to a "
            "newer version"
        )
    return version, match[3]

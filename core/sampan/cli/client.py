"""The daemon as the commands see it: ``get``, ``post``, ``delete``, streams and conversations; errors are raised."""

from __future__ import annotations

from sampan.cli import wire
from sampan.cli.failures import CannotConnect, Failure, Refused
from sampan.cli.http import Connection, Response, connect, quoted, upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, BinaryIO

    from sampan.cli.hosts import Host

API_VERSION = "1.50"


class Client:
    """Connections are opened when they are needed and used again when they are free. Not thread-safe."""

    def __init__(self, host: Host, revive: Callable[[], bool] = lambda: False) -> None:
        """``revive`` is asked once, when nobody listens, to start a daemon; it says whether it did."""
        self.host = host
        self.version = API_VERSION
        self._revive = revive
        self._free: list[Connection] = []

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The decoded answer of a GET."""
        return self.decoded(self.request("GET", path, query))

    def post(self, path: str, query: Mapping[str, object] | None = None, body: object = None) -> Any:
        return self.decoded(self.request("POST", path, query, body))

    def delete(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        return self.decoded(self.request("DELETE", path, query))

    def release(self, response: Response) -> None:
        """Gives a connection back whose answer was read to its end."""
        if response.reusable:
            self._free.append(response.connection)
        else:
            response.connection.close()

    def decoded(self, response: Response) -> Any:
        body = response.body()
        self.release(response)
        try:
            return wire.loads(body) if body.strip() else None
        except ValueError:
            raise CannotConnect(f"What listens at {self.host} did not answer with JSON") from None

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Sends a request, reads the head of the answer. Raises Refused for an error."""
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        data = b"" if body is None else wire.dumps(body).encode()
        length = f"Content-Length: {len(data)}\r\n" if method != "GET" else ""
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        response = self._exchange(lambda c: c.send(self._head(method, path, query, more + kind + length), data))
        if response.status == 400 and self._older(response):
            return self.request(method, path, query, body, headers=headers)
        return self._checked(response)

    def head(self, path: str, query: Mapping[str, object] | None = None) -> Mapping[str, str]:
        """The headers of the answer to a HEAD, which has no body, not even with an error: Refused has no words then."""
        self.ping()  # a connection that died, or a daemon to be started, shows here
        connection = self.connection()
        try:
            connection.send(self._head("HEAD", path, query, ""))
            response = Response(connection, bodiless=True)
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(f"The daemon answered with status {response.status}", response.status)
        return response.headers

    def send_file(
        self, method: str, path: str, query: Mapping[str, object] | None, source: BinaryIO, kind: str
    ) -> Response:
        """A request whose body is a stream."""

        def send(connection: Connection) -> None:
            connection.send(self._head(method, path, query, f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"))
            upload(connection, source)

        self.ping()  # a connection that died, or a daemon to be started, shows before the stream is used up
        response = self._exchange(send)
        response.reusable = False  # an early answer leaves it in the middle of a request
        return self._checked(response)

    def converse(self, path: str, query: Mapping[str, object] | None = None, body: object = None) -> Connection:
        """Takes a connection over: what is sent on it goes to the process, what comes are its streams."""
        data = b"" if body is None else wire.dumps(body).encode()
        head = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
        head = self._head("POST", path, query, f"{head}Content-Length: {len(data)}\r\n")
        response = self._checked(self._exchange(lambda c: c.send(head, data)))
        if not response.upgraded:
            raise CannotConnect(f"What listens at {self.host} did not open a stream")
        return response.connection

    def ping(self) -> Mapping[str, str]:
        response = self.request("GET", "/_ping")
        response.body()
        self.release(response)
        return response.headers

    def _head(self, method: str, path: str, query: Mapping[str, object] | None, more: str) -> str:
        words = "&".join(_pairs(query or {}))
        if "//" in path or path.endswith("/"):
            raise Failure("a name on the command line is empty")
        target = f"/v{self.version}{quoted(path)}{'?' if words else ''}{words}"
        return f"{method} {target} HTTP/1.1\r\nHost: sampan\r\nUser-Agent: sampan\r\n{more}\r\n"

    def _exchange(self, send: Callable[[Connection], None]) -> Response:
        while self._free:
            connection = self._free.pop()
            try:
                send(connection)
                return Response(connection)
            except (OSError, CannotConnect):  # it went stale while it was free
                connection.close()
        connection = self.connection()
        try:
            send(connection)
            return Response(connection)
        except (ConnectionError, CannotConnect) as why:
            connection.close()
            said = why.message if isinstance(why, CannotConnect) else "The connection broke"
            raise CannotConnect(f"{said} ({self.host})") from None

    def connection(self) -> Connection:
        """A new connection. Raises CannotConnect."""
        try:
            return Connection(connect(self.host.address))
        except PermissionError:
            raise CannotConnect(
                f"You may not use the socket at {self.host}: be root, or a member of the socket's group"
            ) from None
        except OSError:
            if self._revive():
                self._revive = lambda: False
                return self.connection()
            raise CannotConnect(f"Cannot connect to the sampan daemon at {self.host}. Is it running?") from None

    def _older(self, response: Response) -> bool:
        """An older engine names the highest version that it speaks; from then on we speak that."""
        response.connection.buffer = (body := response.body()) + response.connection.buffer
        response.left, response.chunked = len(body), False
        _, found, rest = body.decode(errors="replace").partition("Maximum supported API version is ")
        wanted = rest.partition('"')[0].strip().rstrip(".")
        if not found or wanted == self.version or not wanted.replace(".", "").isdigit():
            return False
        self.version = wanted
        response.connection.close()
        return True

    def _checked(self, response: Response) -> Response:
        if response.status < 400:
            return response
        body = response.body()
        self.release(response)
        try:
            message = str(wire.loads(body)["message"])
        except (ValueError, TypeError, KeyError):
            message = body.decode(errors="replace").strip() or f"The daemon answered with status {response.status}"
        raise Refused(message, response.status)


def _pairs(query: Mapping[str, object]) -> Iterator[str]:
    """``key=value`` of a query: None is left out, a list is repeated, a mapping becomes JSON."""
    for key, value in query.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                text = wire.dumps(one) if isinstance(one, dict) else str(int(one) if isinstance(one, bool) else one)
                yield f"{key}={quoted(text)}"


def messages(response: Response) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of progress or events. Raises Refused for one that is an error."""
    for line in response.lines():
        message = wire.loads(line)
        if "error" in message or "errorDetail" in message:
            detail = message.get("errorDetail") or {}
            raise Refused(str(detail.get("message") or message.get("error")), 500)
        yield message

"""A container in the foreground: its streams are ours, our signals are its, its exit status becomes ours."""

from __future__ import annotations

from sampan.cli.client import Client
from sampan.cli.conversation import Conversation
from sampan.cli.failures import DAEMON_FAILED, CannotConnect, Failure, Refused
from sampan.cli.signals import DEADLY, PROXIED, WINDOW_CHANGED, Signals
from sampan.cli.terminal import Raw, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.http import Connection, Response

PATIENCE = 10.0
"""Seconds to wait for the removal of a container that could not be started."""


class Foreground:
    """``streams``: whether stdin, stdout and stderr are joined; ``proxy``: signals are passed on."""

    def __init__(
        self,
        client: Client,
        ident: str,
        streams: tuple[bool, bool, bool],
        *,
        tty: bool,
        proxy: bool,
        detach: bytes,
    ) -> None:
        self._client = client
        self._ident = ident
        self._streams = streams
        self._tty = tty
        self._proxy = proxy
        self._detach = detach

    def start(self, condition: str) -> int:
        """Attaches, starts and stays until it ends; ``condition`` is what counts as ended for the API's wait."""
        with self._signals() as signals:
            connection = self._attach()
            # The wait is registered before the start, or a short-lived container could be missed.
            waiting = self._wait(condition)
            try:
                self._client.post(f"/containers/{self._ident}/start")
            except Refused:
                connection.close()
                if condition == "removed":
                    self._await_removal(waiting)
                raise
            return self._hold(connection, waiting, signals)

    def join(self) -> int:
        """Attaches to one that runs and stays until it ends."""
        with self._signals() as signals:
            waiting = self._wait("not-running")
            return self._hold(self._attach(), waiting, signals)

    def _signals(self) -> Signals:
        return Signals((*(PROXIED if self._proxy else DEADLY), WINDOW_CHANGED))

    def _attach(self) -> Connection:
        names = ("stdin", "stdout", "stderr")
        query = {name: 1 for name, joined in zip(names, self._streams, strict=True) if joined}
        return self._client.converse(f"/containers/{self._ident}/attach", {**query, "stream": 1})

    def _wait(self, condition: str) -> Response:
        return self._client.request("POST", f"/containers/{self._ident}/wait", {"condition": condition})

    def _await_removal(self, waiting: Response) -> None:
        waiting.connection.socket.settimeout(PATIENCE)
        try:
            waiting.body()
        except (OSError, CannotConnect):
            return

    def _hold(self, connection: Connection, waiting: Response, signals: Signals) -> int:
        conversation = Conversation(
            connection,
            signals,
            stdin=self._streams[0],
            tty=self._tty,
            detach=self._detach,
            on_signal=self._on_signal,
        )
        if self._tty:
            self._resize()
        with Raw(wanted=self._tty and self._streams[0]):
            ended = conversation.hold()
        return self._status(waiting, signals) if ended else 0

    def _status(self, waiting: Response, signals: Signals) -> int:
        """The exit status. The streams may have ended before the process: signals are still passed on."""
        from sampan.cli import wire

        self._await(waiting, signals)
        try:
            answer = wire.loads(waiting.body() or b"null")
        except (OSError, ValueError, CannotConnect):
            answer = None
        if not isinstance(answer, dict):
            lost = "The daemon went away before the container ended; the container may still run (see sampan ps)"
            raise CannotConnect(lost, DAEMON_FAILED)
        if (error := answer.get("Error")) and error.get("Message"):
            raise Failure(error["Message"], DAEMON_FAILED)
        return int(answer["StatusCode"])

    def _await(self, waiting: Response, signals: Signals) -> None:
        from select import POLLIN, poll

        watch = poll()
        watch.register(waiting.connection.fileno(), POLLIN)
        watch.register(signals.fileno(), POLLIN)
        while not waiting.connection.buffer:
            ready = {number for number, _ in watch.poll()}
            for number in signals.arrived():
                self._on_signal(number)
            if waiting.connection.fileno() in ready:
                return

    def _on_signal(self, number: int) -> None:
        if number == WINDOW_CHANGED:
            if self._tty:
                self._resize()
        elif self._proxy:
            self._quietly(f"/containers/{self._ident}/kill", {"signal": number})
        else:
            raise Failure("", 128 + number)

    def _resize(self) -> None:
        if found := size():
            self._quietly(f"/containers/{self._ident}/resize", {"h": found[0], "w": found[1]})

    def _quietly(self, path: str, query: dict[str, object]) -> None:
        """It may have ended in the meantime: then there is nothing to be done and nothing to be said."""
        try:
            self._client.post(path, query)
        except (Refused, CannotConnect):
            return

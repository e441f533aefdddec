"""A PostgreSQL server in a container, and clients of it in others: pgbench, and what they say at the end."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec

from harness import Engine, Result

IMAGE = "postgres:debian"
DATA = "/var/lib/postgresql/data"
HOME = "/var/lib/postgresql"  # the server's user's; where the volume is
PORT = 54320  # on the host
_SETTINGS = {
    "listen_addresses": "*",
    "shared_buffers": "64MB",
    "log_min_messages": "log",
    "fsync": "on",
    "checkpoint_timeout": "30s",
    "max_wal_size": "64MB",  # so that files come and go while they are copied
    "min_wal_size": "32MB",
    "wal_keep_size": "512MB",  # what a backup needs is there at its end
}
_BEGIN = f"""set -eu
test -s {DATA}/PG_VERSION || {{
    initdb --pgdata {DATA} --data-checksums --auth trust --encoding UTF8 --locale C.UTF-8 >/dev/null
    echo host all all all trust >>{DATA}/pg_hba.conf
}}
exec postgres -D {DATA} {" ".join(f"-c {name}={shlex.quote(value)}" for name, value in _SETTINGS.items())}
"""
HEALTH = ("--health-cmd", "pg_isready --quiet --timeout 2", "--health-interval", "1s", "--health-retries", "3")
_PATIENCE = 90.0


class Report(msgspec.Struct, frozen=True):
    """What pgbench said: transactions that it knows to be committed, those that failed, and whether it broke off."""

    processed: int
    failed: int
    whole: bool
    text: str


class Server:
    """The container ``name`` with ``volume`` for its data."""

    def __init__(self, engine: Engine, name: str, network: str) -> None:
        self._engine = engine
        self._network = network
        self.name = name

    # ── the container ────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, volume: str, *options: str) -> None:
        where = ("--network", self._network, "--volume", f"{volume}:{HOME}", "--user", "postgres")
        name = ("--name", self.name, "--stop-signal", "SIGINT", *HEALTH)
        self._engine.docker("create", *name, *where, *options, IMAGE, "sh", "-c", _BEGIN).ok()

    def start(self) -> None:
        self._engine.docker("start", self.name).ok()

    def run(self, volume: str, *options: str) -> None:
        self.create(volume, *options)
        self.start()
        self.wait_until_healthy()

    def inspect(self) -> dict[str, Any]:
        status, told = self._engine.api("GET", f"/containers/{self.name}/json")
        assert status == 200, told
        assert isinstance(told, dict)
        return told

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.inspect()["State"])

    def wait_until_healthy(self) -> None:
        self._engine.wait_until(lambda: self.state["Health"]["Status"] == "healthy", f"{self.name} is healthy", 60)

    def wait_until_it_takes_queries(self) -> None:
        self._engine.wait_until(lambda: self._psql("SELECT 1").code == 0, f"{self.name} takes queries", 60)

    # ── what is in it ────────────────────────────────────────────────────────────────────────────────────────────

    def query(self, text: str) -> str:
        return self._psql(text).out

    def try_query(self, text: str) -> Result:
        return self._psql(text)

    def numbers(self, text: str) -> list[int]:
        return [int(word) for word in self.query(text).split("|")]

    def _psql(self, text: str) -> Result:
        return self._engine.docker("exec", self.name, "psql", "-XAtq", "-c", text, timeout=_PATIENCE)

    # ── its clients ──────────────────────────────────────────────────────────────────────────────────────────────

    def fill(self, scale: int) -> None:
        """The tables of pgbench, empty of history."""
        self._engine.docker(
            "exec", self.name, "pgbench", "--initialize", "--quiet", "--scale", scale, timeout=_PATIENCE
        ).ok()

    def load(self, seconds: int) -> Load:
        """Clients over the network, each with one connection for all the time."""
        address = self.inspect()["NetworkSettings"]["Networks"][self._network]["IPAddress"]
        return Load(self._engine, "steady", self._network, seconds, "--host", address, "--client", "3")

    def load_of_strangers(self, seconds: int) -> Load:
        """A client on the host, through the published port, with a new connection for each transaction."""
        return Load(self._engine, "strangers", "host", seconds, "--host", "127.0.0.1", "--port", str(PORT), "--connect")


class Load:
    """pgbench in a container of its own, so that it does not need the daemon either."""

    def __init__(self, engine: Engine, name: str, network: str, seconds: int, *options: str) -> None:
        self._engine = engine
        self._name = name
        pgbench = ("pgbench", "--no-vacuum", "--time", str(seconds), "--progress", "1", *options)
        engine.docker(
            *("run", "--detach", "--name", name, "--network", network, "--user", "postgres", IMAGE, *pgbench)
        ).ok()
        try:
            engine.wait_until(lambda: "progress: " in self._said(), f"{name} is at work", 30)
        except AssertionError as error:
            error.add_note(self._said())
            raise

    def end(self) -> Report:
        """Wait for its end."""
        code = self._engine.docker("wait", self._name, timeout=_PATIENCE).out
        text = self._said()
        self._engine.docker("rm", self._name).ok()
        processed = re.search(r"transactions actually processed: (\d+)", text)
        failed = re.search(r"failed transactions: (\d+)", text)
        return Report(
            processed=int(processed[1]) if processed else 0,
            failed=int(failed[1]) if failed else 0,
            whole=code == "0" and bool(processed),
            text=text,
        )

    def _said(self) -> str:
        done = self._engine.docker("logs", self._name)
        return done.stdout + done.stderr

"""What is done to the server, and what must be true afterwards. Each trial returns a sentence of what it has proved."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server import DATA, HOME, IMAGE, PORT, Report, Server

from harness import Engine

SCALE = 5
MEMORY = 256  # MiB
_KILLS = 3
_LIMITS = ("--memory", f"{MEMORY}m", "--memory-swap", f"{MEMORY}m", "--shm-size", "64m")
_SUMS = (
    "SELECT (SELECT count(*) FROM pgbench_history), (SELECT coalesce(sum(delta), 0) FROM pgbench_history), "
    "(SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), "
    "(SELECT sum(bbalance) FROM pgbench_branches)"
)
_HUNGRY = (
    "SET work_mem = '2GB'; SELECT length(string_agg(repeat(md5(x::text), 8), '')) FROM generate_series(1, 9000000) x"
)


class Campaign:
    """``trials`` are to be run in order."""

    def __init__(self, engine: Engine, seconds: int) -> None:
        self._engine = engine
        self._seconds = seconds
        self._db = Server(engine, "db", "backend")
        self._history = 0  # transactions that are known to be in it

    @property
    def trials(self) -> list[Callable[[], str]]:
        return [
            self.begins,
            self.daemon_is_killed,
            self.backend_starves,
            self.server_starves,
            self.init_is_starved,
            self.nobody_sees_it_starve,
            self.is_copied_out,
            self.volume_outlives,
        ]

    # ── trials ───────────────────────────────────────────────────────────────────────────────────────────────────

    def begins(self) -> str:
        """Limits, volume, health."""
        self._engine.docker("network", "create", "backend").ok()
        self._db.run("pgdata", *_LIMITS, "--restart", "always", "--publish", f"{PORT}:5432")
        self._db.fill(SCALE)
        told = self._db.inspect()
        assert told["HostConfig"]["Memory"] == MEMORY << 20, told["HostConfig"]
        [mount] = told["Mounts"]
        assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "pgdata", HOME), mount
        assert self._db.query("SHOW data_checksums") == "on"
        version = self._db.query("SHOW server_version")
        return f"PostgreSQL {version} runs on a volume, within {MEMORY} MiB, and is healthy"

    def daemon_is_killed(self) -> str:
        """Under load, several times."""
        before = self._db.inspect()
        loads = [self._db.load(self._seconds), self._db.load_of_strangers(self._seconds)]
        for _ in range(_KILLS):
            seen = self._last_check()
            self._engine.kill()
            time.sleep(self._seconds / _KILLS / 4)  # the server and its clients go on by themselves
            self._engine.start()
            self._same_as(before)
            self._engine.wait_until(lambda seen=seen: self._last_check() > seen, "health checks go on", 20)  # type: ignore[misc]
            self._db.wait_until_healthy()
        reports = [load.end() for load in loads]
        for report in reports:
            assert report.whole, report.text
            assert not report.failed, report.text
        done = self._nothing_lost(reports)
        self._same_as(before)
        return f"{done} transactions while the daemon was killed {_KILLS} times: none lost, none failed, health goes on"

    def backend_starves(self) -> str:
        """The kernel kills a process of the server; it recovers without its container's end."""
        before, since = self._db.inspect(), time.time()
        load = self._db.load(self._seconds)
        failed = self._db.try_query(_HUNGRY)
        assert failed.code != 0, failed.stdout
        report = load.end()
        self._engine.wait_until(lambda: bool(self._events("oom", since)), "an event tells of the kill", 20)
        self._db.wait_until_it_takes_queries()
        self._db.wait_until_healthy()
        self._same_as(before)
        assert self._db.state["OOMKilled"], self._db.state
        assert not self._events("die", since)
        done = self._nothing_lost([report], unsure=3)
        return f"a backend was killed for want of memory: told, {done} transactions kept, the container ran on"

    def server_starves(self) -> str:
        """The server gives up when a backend is killed: its container ends, and comes back by its policy."""
        self._db.query("ALTER SYSTEM SET restart_after_crash = off")
        self._db.query("SELECT pg_reload_conf()")
        done = self._comes_back(lambda: self._db.try_query(_HUNGRY), code=1)
        self._db.query("ALTER SYSTEM RESET restart_after_crash")
        return f"the server ended after that: back by restart=always, {done} transactions kept"

    def init_is_starved(self) -> str:
        """The kernel chooses the container's init."""

        done = self._comes_back(lambda: _starve(self._db.state["Pid"]), code=137)
        return f"the kernel killed the container's init: OOMKilled, back by restart=always, {done} transactions kept"

    def nobody_sees_it_starve(self) -> str:
        """There is no daemon when the kernel kills: the next one tells, and does what the policy wants."""
        pid = self._db.state["Pid"]
        load = self._db.load(self._seconds)
        self._engine.kill()
        _starve(pid)
        self._engine.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the server ends", 20)
        since = time.time()
        self._engine.start()
        self._engine.wait_until(lambda: bool(self._events("start", since)), "it is started again", 30)
        report = load.end()
        self._db.wait_until_it_takes_queries()
        self._db.wait_until_healthy()
        self._told_of_starving(since, code=137)
        done = self._nothing_lost([report], unsure=3)
        return f"the same while there was no daemon: told and restarted by the next one, {done} transactions kept"

    def is_copied_out(self) -> str:
        """A base backup by ``docker cp``, while the server works, and a server that begins with the copy."""
        target = self._engine.root / "backup"
        load = self._db.load(self._seconds)
        with self._backup() as end:
            self._engine.docker("cp", "--archive", f"{self._db.name}:{DATA}/.", target, timeout=90).ok()
            label = end()
        known = self._sums()[0]
        # What was written until the backup's end is in the log, which is copied now.
        self._engine.docker("cp", "--archive", f"{self._db.name}:{DATA}/pg_wal/.", target / "pg_wal", timeout=90).ok()
        (target / "backup_label").write_text(label)
        (target / "postmaster.pid").unlink()
        report = load.end()
        assert report.whole, report.text
        assert not report.failed, report.text
        self._nothing_lost([report])
        copy = self._restored(target)
        copied = self._sums(copy)[0]
        assert known <= copied <= self._history, f"{copied} transactions were recovered of {known} to {self._history}"
        self._whole(copy)
        return (
            f"docker cp out of its data directory, under load: a server recovered {copied} transactions from the copy"
        )

    def volume_outlives(self) -> str:
        """Its container is removed by force; another one goes on with its volume, and every page is whole."""
        history = self._sums()[0]
        self._engine.docker("rm", "--force", "--volumes", self._db.name).ok()
        again = Server(self._engine, "again", "backend")
        again.run("pgdata", *_LIMITS)
        assert self._sums(again)[0] == history == self._history
        self._whole(again)
        return f"all {history} transactions are in the volume after rm --force; every page's checksum is right"

    # ── what must be true ────────────────────────────────────────────────────────────────────────────────────────

    def _sums(self, server: Server | None = None) -> list[int]:
        history, delta, *balances = (server or self._db).numbers(_SUMS)
        assert balances == [delta] * 3, f"the accounts do not add up: {delta}, {balances}"
        return [history, delta]

    def _nothing_lost(self, reports: list[Report], unsure: int = 0) -> int:
        """The transactions since the last time. What was committed is there; ``unsure`` are those of which a client
        cannot know whether they were, because its connection broke."""
        processed = sum(report.processed for report in reports)
        assert processed, [report.text for report in reports]
        found = self._sums()[0] - self._history
        assert processed <= found <= processed + unsure, f"{processed} were committed, {found} are there"
        self._history += found
        return found

    def _same_as(self, before: dict[str, object]) -> None:
        """It has never ended."""
        now, then = self._db.inspect(), before
        for key in ("Pid", "StartedAt", "Status"):
            assert now["State"][key] == then["State"][key], f"{key}: {then['State']} → {now['State']}"  # type: ignore[index]
        assert now["RestartCount"] == then["RestartCount"]

    def _last_check(self) -> str:
        log = self._db.state["Health"]["Log"] or [{"End": ""}]
        return str(log[-1]["End"])

    def _events(self, action: str, since: float) -> list[dict[str, object]]:
        told = self._engine.events(f"container={self._db.name}", f"event={action}")
        return [event for event in told if event["timeNano"] / 1e9 > since]

    def _comes_back(self, starve: Callable[[], object], code: int) -> int:
        before, since = self._db.inspect(), time.time()
        load = self._db.load(self._seconds)
        starve()
        self._engine.wait_until(lambda: bool(self._events("start", since)), "it is started again", 30)
        report = load.end()
        self._db.wait_until_it_takes_queries()
        self._db.wait_until_healthy()
        self._told_of_starving(since, code)
        now = self._db.inspect()
        assert now["RestartCount"] == before["RestartCount"] + 1, now["RestartCount"]
        assert now["State"]["Pid"] != before["State"]["Pid"]
        return self._nothing_lost([report], unsure=3)

    def _told_of_starving(self, since: float, code: int) -> None:
        assert self._events("oom", since), "no event tells of the kernel's kill"
        [die] = self._events("die", since)
        assert die["Actor"]["Attributes"]["exitCode"] == str(code), die  # type: ignore[index]

    # ── the copy ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _backup(self) -> Iterator[Callable[[], str]]:
        """PostgreSQL's own frame around a copy of files that are being written (its documentation, "Making a
        Non-Exclusive Low-Level Backup"): one session, open all the time. What is yielded ends it and gives the label.
        """
        command = ("docker", "exec", "--interactive", self._db.name, "psql", "-XAtq", "--set", "ON_ERROR_STOP=1")
        session = self._engine.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert session.stdin
        assert session.stdout
        try:
            session.stdin.write(b"SELECT pg_backup_start('copy', fast => true);\n")
            session.stdin.flush()
            assert b"/" in session.stdout.readline(), "the backup did not begin"

            def end() -> str:
                told, _ = session.communicate(b"SELECT labelfile FROM pg_backup_stop(false);\n", timeout=60)
                assert session.returncode == 0
                return told.decode().strip() + "\n"

            yield end
        finally:
            session.kill()
            session.wait()

    def _restored(self, copy: Path) -> Server:
        server = Server(self._engine, "copy", "backend")
        server.create("copied", *_LIMITS)
        self._engine.docker("cp", "--archive", f"{copy}/.", f"{server.name}:{DATA}", timeout=90).ok()
        server.start()
        server.wait_until_healthy()
        return server

    def _whole(self, server: Server) -> None:
        """Tables fit their indexes; and, of the files at rest, every page its checksum. Stops the server."""
        check = ("pg_amcheck", "--install-missing", "--heapallindexed", "--database", "postgres")
        self._engine.docker("exec", server.name, *check, timeout=90).ok()
        self._engine.docker("stop", server.name).ok()
        assert server.state["ExitCode"] == 0, server.state
        command = ("run", "--rm", "--user", "postgres", "--volumes-from", server.name, IMAGE)
        told = self._engine.docker(*command, "pg_checksums", "--check", "--pgdata", DATA, timeout=90).out
        assert "Bad checksums:  0" in told, told


def _starve(init: int) -> None:
    """Use up the memory of a container with another process, so that the kernel has to choose: the init."""
    Path(f"/proc/{init}/oom_score_adj").write_text("1000")
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{init}/cgroup").read_text().splitlines())
    group = f"/sys/fs/cgroup/memory{groups['memory']}" if "memory" in groups else f"/sys/fs/cgroup{groups['']}"
    hungry = f"echo $$ >{group}/cgroup.procs && exec tail /dev/zero"
    subprocess.run(["sh", "-c", hungry], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)

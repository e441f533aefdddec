"""The engine's memory: records as JSON in SQLite, written before anything is acknowledged.

One table per noun, ``(id TEXT PRIMARY KEY, body BLOB)``. WAL with ``synchronous=FULL``: when ``put`` returns, the
record survives the loss of power (https://www.sqlite.org/pragma.html#pragma_synchronous). What would be forgotten at
the next start anyway need not, and is not waited for: it survives the daemon and no more (``synchronous=NORMAL``).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from sampan.errors import Exhausted, SampanError, Unavailable

SCHEMA = 1
TABLES = ("meta", "images", "containers", "networks", "volumes", "snapshots")

T = TypeVar("T")


class State:
    """The one writer of ``engine.db``. Thread-safe."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o710)
        self._path = path
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._set_sync(True)
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, SCHEMA):
            raise Unavailable(f"{path} was written by another version of sampan (schema {found}, not {SCHEMA})")
        with self.transaction():
            for table in TABLES:
                self._db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY, body BLOB NOT NULL)")
            self._db.execute(f"PRAGMA user_version={SCHEMA}")

    @contextmanager
    def transaction(self, *, lasting: bool = True) -> Iterator[None]:
        """All of the puts and deletes inside become durable together, or none of them. May be nested: the outermost
        says whether they are ``lasting``, that is, survive the loss of power and not only the daemon.

        ``Exhausted`` if the disk is full, ``Unavailable`` if the database cannot be written for another reason.
        """
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            try:
                if lasting != self._syncs:
                    self._set_sync(lasting)
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:  # a COMMIT that failed leaves it open, or not: lang_transaction.html
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise self._refusal(error) from error
                raise

    def _set_sync(self, wanted: bool) -> None:
        """No change of this has an effect inside a transaction."""
        self._db.execute(f"PRAGMA synchronous={'FULL' if wanted else 'NORMAL'}")
        self._syncs = wanted

    def _refusal(self, error: sqlite3.OperationalError) -> SampanError:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            return Exhausted(f"no space is left where {self._path} is: nothing was changed")
        return Unavailable(f"{self._path} cannot be written: {error}")

    def put(self, table: str, ident: str, record: object, *, lasting: bool = True) -> None:
        body = msgspec.json.encode(record)
        with self.transaction(lasting=lasting):
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (ident, body))  # noqa: S608

    def delete(self, table: str, ident: str, *, lasting: bool = True) -> None:
        with self.transaction(lasting=lasting):
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (ident,))  # noqa: S608

    def load(self, table: str, kind: type[T]) -> dict[str, T]:
        """Every record of a table by id, as ``kind``."""
        with self._lock:
            rows = self._db.execute(f"SELECT id, body FROM {table}").fetchall()  # noqa: S608
        return {ident: msgspec.json.decode(body, type=kind) for ident, body in rows}

    def close(self) -> None:
        with self._lock:
            self._db.close()

"""One driver's share of the instance's table (:mod:`sampan_network.table`), told to the kernel and kept true."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator

from sampan.errors import Conflict, NotFound, SampanError
from sampan.linux.nftables import Nftables, open_nftables
from sampan.linux.setelements import MOST, Element, SetElements, shape
from sampan_network import table as layout

log = logging.getLogger(__name__)

_SHAPES = {name: shape(said) for name, said in layout.SETS.items()}


class Firewall:
    """One driver's share of the table. Thread-safe.

    It remembers what it was told, so that it can tell the kernel again: whenever the table turns out to be missing,
    all of the share is put back in one transaction. Opened at its first use, in that thread's network namespace.
    """

    def __init__(self, instance: str, owner: str) -> None:
        self.name = f"sampan-{instance}"
        self.table = f"inet {self.name}"
        self._owner = owner
        self._lock = threading.Lock()
        self._nft: Nftables | None = None
        self._elements: SetElements | None = None
        self._wanted: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()  # of those, in each set
        self._installed = False
        self._sealed = False  # has the installed table what sealed bridges need?

    def add(self, elements: Iterable[Element]) -> None:
        """All of them, or none; those that are there already stay. ``Conflict`` if a key has another value."""
        with self._lock:
            named = dict.fromkeys(elements)  # two ports may be one to a network that is routed
            fresh = [one for one in named if self._wanted.get((one.set, one.key)) != one.value]
            for one in fresh:
                if (one.set, one.key) in self._wanted:
                    raise Conflict(f"{one.key} is already in use in {one.set} of the firewall table {self.table}")
            self._want(fresh)
            try:
                self._apply(fresh, there=True)
            except SampanError:
                self._want_no_more(fresh)
                raise

    def remove(self, elements: Iterable[Element]) -> None:
        """Those that are there with just these values; nothing is said of others."""
        with self._lock:
            named = dict.fromkeys(elements)
            gone = [one for one in named if self._wanted.get((one.set, one.key)) == one.value]
            self._want_no_more(gone)
            self._apply(gone, there=False)

    def value(self, name: str, key: str) -> str | None:
        """What is known of a key."""
        with self._lock:
            return self._wanted.get((name, key))

    def present(self, element: Element) -> bool:
        """Does the kernel know it, whatever we believe?"""
        with self._lock:
            try:
                self._open().run(f"get element {self.table} {element.set} {{ {element.key} }}")
            except NotFound:
                return False
            return True

    def wanted(self) -> list[Element]:
        """All that is known."""
        with self._lock:
            return self._known()

    def replace(self, elements: Iterable[Element]) -> None:
        """Just these from now on: what is missing is put back, rules included, and what is unknown goes, at once."""
        with self._lock:
            self._wanted = {}
            self._counts.clear()
            self._want({(one.set, one.key): one for one in elements}.values())
            try:
                listed = self._open().list(f"table {self.table}")
            except NotFound:
                listed = []
            self._install(afresh=bool(layout.strangers(listed)))

    def heal(self) -> bool:
        """Put back whatever is missing, at once; false if there is nothing that is wanted."""
        with self._lock:
            if not self._wanted:
                return False
            self._install()
            return True

    def whole(self) -> bool:
        """Is everything there? By numbers of rules and elements: for those who cannot hear of changes."""
        with self._lock:
            if not self._wanted:
                return True
            try:
                listed = self._open().list(f"table {self.table}")
            except NotFound:
                return False
            rules = layout.rules(self._owner, sealed=self._seals())
            return layout.counted(listed, self._owner) == (self._counts, rules)

    @property
    def signs(self) -> bool:
        """Are its transactions known by its name to those who watch?"""
        with self._lock:
            return self._open().signs

    def remove_table(self) -> None:
        """Remove the table if nothing in it is in use any more, by whichever driver, and nothing is the user's."""
        with self._lock:
            if self._wanted:
                return
            try:
                if not layout.in_use(self._open().list(f"table {self.table}")):
                    self._open().run(f"delete table {self.table}")
                    self._installed = False
            except NotFound:
                self._installed = False

    def _apply(self, elements: list[Element], *, there: bool) -> None:
        if not elements:
            return
        if not self._installed or self._sealed != self._seals():
            self._install()  # with the first sealed bridge a chain comes, and with the last it goes
            return
        try:
            if len(elements) > MOST:
                self._open().run("".join(self._commands("add" if there else "delete", elements, keyed=not there)))
            elif there:
                self._open_elements().add(elements)
            else:
                self._open_elements().delete(elements)
        except NotFound:
            log.warning("the firewall table %s was incomplete: putting it back", self.table)
            self._install()

    def _install(self, *, afresh: bool = False) -> None:
        sealed = self._seals()
        script = "".join(layout.skeleton(self.table, self._owner, sealed=sealed))
        script += "".join(self._commands("add", self._known()))
        try:
            if afresh:
                self._remake(script)
            else:
                self._open().run(script)
        except Conflict:  # a set or a chain of the same name and another shape
            if afresh:
                raise
            self._remake(script)
        self._installed, self._sealed = True, sealed

    def _remake(self, script: str) -> None:
        """In place of another version's table, but for what is the user's. The other driver repairs its share."""
        log.warning("the firewall table %s is of another version: making it afresh", self.table)
        users = layout.users_part(self.table, self._open().text(f"table {self.table}"))
        try:
            self._open().run(f"delete table {self.table}\n{script}{users}")
        except SampanError:
            log.error("the user's part of the firewall does not fit this version any more and is left out: %s", users)
            self._open().run(f"delete table {self.table}\n{script}")

    def _seals(self) -> bool:
        return any(count and layout.is_seal(name) for name, count in self._counts.items())

    def _want(self, elements: Iterable[Element]) -> None:
        for one in elements:
            self._wanted[one.set, one.key] = one.value
            self._counts[one.set] += 1

    def _want_no_more(self, elements: Iterable[Element]) -> None:
        for one in elements:
            del self._wanted[one.set, one.key]
            self._counts[one.set] -= 1

    def _known(self) -> list[Element]:
        return [Element(name, key, value) for (name, key), value in self._wanted.items()]

    def _commands(self, verb: str, elements: Iterable[Element], keyed: bool = False) -> Iterator[str]:
        by_set: dict[str, list[str]] = {}
        for name, key, value in elements:
            by_set.setdefault(name, []).append(f"{key} : {value}" if value and not keyed else key)
        for name, texts in by_set.items():
            yield f"{verb} element {self.table} {name} {{ {', '.join(texts)} }}\n"

    def _open_elements(self) -> SetElements:
        if self._elements is None:
            self._elements = SetElements(self.name, _SHAPES, self.name)
        return self._elements

    def _open(self) -> Nftables:
        if self._nft is None:
            self._nft = open_nftables(self.name)
        return self._nft

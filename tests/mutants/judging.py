"""Declaring mutants, and letting the kit judge them.

A mutant is a working driver that breaks one promise of its contract, and it says which of the kit's tests is to find
it out. That test, and no other, is run against it. A test that fails whatever it is given would prove nothing: the
built-in drivers go through the same tests elsewhere, and ``control``, which is what mutants with a ``fault`` are made
of, goes through the tests of those here.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

Driver = TypeVar("Driver", bound=type[Any])

SUITE = Path(__file__).parent / "suite.py"
PATIENCE = 170.0  # seconds for all the mutants of one family


class Mutant(NamedTuple):
    """``promise`` is what it breaks, ``caught_by`` the name of the test, ``call`` the contract's method at fault."""

    promise: str
    driver: type[Any]
    caught_by: str
    call: str


class Mutants:
    """Those of one family, in the order in which they were written down."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.control: type[Any] | None = None
        self.all: list[Mutant] = []

    def breaks(self, promise: str, *, call: str, caught_by: str) -> Callable[[Driver], Driver]:
        """Declares a class to be a mutant."""

        def declare(driver: Driver) -> Driver:
            self.all.append(Mutant(promise, driver, caught_by, call))
            return driver

        return declare


class Verdict(NamedTuple):
    """What the kit said of one mutant: the message of its failure, or "" if it survived."""

    message: str
    whole: str


SURVIVED = Verdict("", "")


def faulty(mutants: Mutants) -> list[str]:
    """The tests that find out those mutants that are made of the control."""
    return list(dict.fromkeys(mutant.caught_by for mutant in mutants.all if getattr(mutant.driver, "fault", "")))


@cache
def judge(mutants: Mutants) -> dict[str, Verdict] | str:
    """Run the kit against all mutants of a family, each in its own test.

    Once, whatever comes of it: if nothing does, that is told in words. Who survives is tried again, alone: a machine
    may have been too busy for what a test waits for, such as an answer where there should be silence.
    """
    nodes = [f"{SUITE}::Test{mutants.control.__name__}::{test}" for test in faulty(mutants)] if mutants.control else []
    of_mutants = {mutant.driver.__name__: mutant.caught_by for mutant in mutants.all}
    found = _run(mutants.family, [*nodes, *map(_node, of_mutants.items())], "-n3")
    if isinstance(found, str):
        return found
    again = [each for each in of_mutants.items() if each[0] in found and found[each[0]] == SURVIVED]
    second = _run(mutants.family, [*map(_node, again)]) if again else {}
    return second if isinstance(second, str) else found | second


def _node(mutant: tuple[str, str]) -> str:
    return f"{SUITE}::Test{mutant[0]}::{mutant[1]}"


def _run(family: str, nodes: list[str], *options: str) -> dict[str, Verdict] | str:
    """In a process of its own, for the kit's plugin is at work in this one."""
    report = SUITE.with_name(f".{family}.xml")
    command = [sys.executable, "-m", "pytest", "-q", *options, "--no-header", "--tb=short", f"--junitxml={report}"]
    try:
        done = subprocess.run(
            [*command, *nodes], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=SUITE.parent
        )
        if done.returncode not in (0, 1):
            return f"the kit did not run: {done.stdout}{done.stderr}"
        return _verdicts(report)
    except subprocess.TimeoutExpired as late:
        return f"the kit was not done after {PATIENCE:.0f} s: {(late.output or b'').decode(errors='replace')}"
    finally:
        report.unlink(missing_ok=True)


def _verdicts(report: Path) -> dict[str, Verdict]:
    """By the mutants' names. Of a test with parameters, one failure is enough; a test that was skipped has not run."""
    found: dict[str, Verdict] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it for us
        name = case.attrib["classname"].rpartition(".Test")[2]
        problems = [*case.iter("failure"), *case.iter("error")]
        if problems:
            found[name] = Verdict(problems[0].attrib.get("message", ""), problems[0].text or "")
        elif case.find("skipped") is not None:
            found.setdefault(name, Verdict("", "the test was skipped"))
        else:
            found.setdefault(name, Verdict("", ""))
    return found


class MutantTests:
    """Every mutant is caught, and there is one for every call of the contract. Give ``mutants`` and
    ``contract``."""

    mutants: Mutants
    contract: type[Any]

    @pytest.fixture
    def verdicts(self) -> dict[str, Verdict]:
        found = judge(self.mutants)
        assert isinstance(found, dict), found
        return found

    def test_every_mutant_is_caught(self, verdicts: dict[str, Verdict]) -> None:
        survivors = [
            f"{mutant.driver.__name__} breaks the promise that {mutant.promise}, and {mutant.caught_by} let it pass"
            f" {verdicts.get(mutant.driver.__name__, Verdict('', 'it did not run')).whole}"
            for mutant in self.mutants.all
            if not verdicts.get(mutant.driver.__name__, Verdict("", "")).message
        ]
        assert not survivors, "\n".join(survivors)

    def test_what_they_are_made_of_is_right(self, verdicts: dict[str, Verdict]) -> None:
        if self.mutants.control:
            assert verdicts[self.mutants.control.__name__] == Verdict("", "")

    def test_what_the_kit_says_of_them_is_a_sentence(self, verdicts: dict[str, Verdict]) -> None:
        for mutant in self.mutants.all:
            said = verdicts[mutant.driver.__name__]
            assert "does not do what it promises: " in said.whole, (mutant.driver.__name__, said.whole)
            assert "INTERNALERROR" not in said.whole

    def test_every_call_of_the_contract_has_a_mutant(self) -> None:
        calls = {name for name, member in vars(self.contract).items() if callable(member) and name[0] != "_"}
        assert calls - {"Options"} <= {mutant.call for mutant in self.mutants.all}

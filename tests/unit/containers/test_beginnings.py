"""Signals in the first moments of a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sampan.containers import timestamps
from sampan.containers.life import beginnings

TERM = int(signal.SIGTERM)


def told(code: str) -> subprocess.Popen[str]:
    """A program that says when it has done ``code``."""
    first = "import signal, sys, time; signal.signal(1, signal.SIG_DFL)"  # which nohup has all ignore
    said = f"{first}; {code}; print(); sys.stdout.flush(); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-S", "-c", said], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    child.stdout.readline()
    return child


@pytest.fixture(params=["signal(15, print)", "signal(15, signal.SIG_IGN)", "pthread_sigmask(signal.SIG_BLOCK, [15])"])
def heedful(request: pytest.FixtureRequest) -> Iterator[int]:
    child = told(f"signal.{request.param}")
    yield child.pid
    child.kill()
    child.communicate()


@pytest.fixture
def heedless() -> Iterator[int]:
    child = told("0")
    yield child.pid
    child.kill()
    child.communicate()


def test_what_a_process_does_about_a_signal_is_seen(heedful: int, heedless: int) -> None:
    assert beginnings.heeds(heedful, TERM)
    assert not beginnings.heeds(heedful, int(signal.SIGHUP))
    assert not beginnings.heeds(heedless, TERM)


def test_one_that_has_ended_is_not_waited_for(heedless: int) -> None:
    os.kill(heedless, signal.SIGKILL)
    os.waitpid(heedless, 0)
    assert beginnings.heeds(heedless, TERM)


def test_a_moment_is_left_to_a_program_that_has_just_begun(heedless: int) -> None:
    began = time.monotonic()
    beginnings.wait(heedless, timestamps.now(), TERM)
    assert beginnings.MOMENTS * 0.8 < time.monotonic() - began < beginnings.MOMENTS * 10


def test_nobody_waits_for_one_that_is_older(heedless: int) -> None:
    began = time.monotonic()
    beginnings.wait(heedless, timestamps.text(time.time_ns() - 200_000_000), TERM)
    assert time.monotonic() - began < beginnings.MOMENTS / 2


def test_the_wait_is_over_with_the_process(heedless: int) -> None:
    began = time.monotonic()
    threading.Timer(0.02, lambda: (os.kill(heedless, signal.SIGKILL), os.waitpid(heedless, 0))).start()
    beginnings.wait(heedless, timestamps.now(), TERM)
    assert time.monotonic() - began < beginnings.MOMENTS * 0.8

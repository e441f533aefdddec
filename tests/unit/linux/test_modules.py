"""Modules are loaded with what keeps them from making links of their own, and not at all where they are there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sampan.linux import modules


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "modprobe"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(program))
    monkeypatch.setattr(modules, "_LOADED", tmp_path / "loaded")
    return program


def test_what_is_not_there_is_asked_for_and_may_not_be(program: Path) -> None:
    modules.load("ifb", "numifbs=0")
    assert (program.parent / "asked").read_text() == "-q ifb numifbs=0\n"


def test_what_is_there_is_left_alone(program: Path) -> None:
    (program.parent / "loaded/ifb").mkdir(parents=True)
    modules.load("ifb", "numifbs=0")
    assert not (program.parent / "asked").exists()


def test_without_modprobe_nothing_happens(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    modules.load("ifb", "numifbs=0")
    assert not (program.parent / "asked").exists()

"""Findings, quickly written."""

from __future__ import annotations

from sampan.drivers.types import Finding


def fine(about: str, says: str) -> Finding:
    return Finding(about=about, says=says)


def note(about: str, says: str, remedy: str = "") -> Finding:
    """Nothing is broken, but somebody may miss something."""
    return Finding(about=about, says=says, mark="note", remedy=remedy)


def wrong(about: str, says: str, remedy: str) -> Finding:
    return Finding(about=about, says=says, mark="wrong", remedy=remedy)

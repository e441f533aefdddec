"""The command ``sampan``: a client that talks to the daemon over its socket only, one module per noun.

A command should answer in the time that Python takes to start, so nothing is imported before it is needed, and the
modules on the way of every command (app, commands, flags, hosts, client, http, wire) import nothing heavy.
"""

from __future__ import annotations


def main() -> int:
    """The entry point. Returns the exit status."""
    import sys

    from sampan.cli.app import run

    return run(sys.argv[1:])

"""The texts of ``--help``: short, with examples, made from the tables that the commands are run by."""

from __future__ import annotations

import os
import textwrap

from sampan.cli import commands
from sampan.cli.app import GLOBAL_FLAGS, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.cli.flags import Command, Flag


def everything() -> str:
    """Help of ``sampan`` alone."""
    others = sorted(name for name in commands.COMMANDS if name not in commands.COMMON)
    return "\n".join(
        [
            "Usage:  sampan [OPTIONS] COMMAND",
            "",
            "A container engine whose storage, network and runtime are pluggable drivers",
            "",
            "Most used:",
            *_columns((name, commands.COMMANDS[name][2]) for name in commands.COMMON),
            "",
            "Groups:",
            *_columns((name, summary) for name, (_, summary) in commands.GROUPS.items()),
            "",
            "All others:",
            *_columns((name, commands.COMMANDS[name][2]) for name in others),
            "",
            "Options:",
            *_flags(GLOBAL_FLAGS),
            "",
            "Examples:",
            "  sampan image from-host -t shell        an image of this host's own shell",
            "  sampan run --rm -it shell              a container of it",
            "  sampan run -d -p 8080:80 web           one that serves port 8080",
            "",
            "Run 'sampan COMMAND --help' for more about a command.",
        ]
    )


def group(name: str) -> str:
    """Help of a noun."""
    table, summary = commands.GROUPS[name]
    return "\n".join(
        [
            f"Usage:  sampan {name} COMMAND",
            "",
            summary,
            "",
            "Commands:",
            *_columns((verb, entry[2]) for verb, entry in table.items()),
            "",
            f"Run 'sampan {name} COMMAND --help' for more about a command.",
        ]
    )


def describe(path: str, summary: str, command: Command) -> str:
    """Help of one command."""
    lines = [f"Usage:  sampan {path} {usage(command)}".rstrip(), "", summary]
    others = same_as(path)
    if others:
        lines += ["", "Aliases:", "  " + ", ".join(f"sampan {name}" for name in others)]
    if command.flags:
        lines += ["", "Options:", *_flags(command.flags)]
    if command.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in command.examples)]
    return "\n".join(lines)


def same_as(path: str) -> list[str]:
    """Every way to call the command that ``path`` calls, if there are several."""
    noun, _, verb = path.rpartition(" ")
    entry = commands.GROUPS[noun][0][verb] if noun else commands.COMMANDS[verb]
    names = [name for name, other in commands.COMMANDS.items() if other is entry]
    for noun, (table, _) in commands.GROUPS.items():
        verbs = [verb for verb, other in table.items() if other is entry]
        aliases = [alias for alias, verb in commands.ALIASES.get(noun, {}).items() if verb in verbs]
        names += [f"{noun} {verb}" for verb in (*verbs, *aliases)]
    return names if len(names) > 1 else []


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows) + 2
    return [f"  {left:<{width}}{right}" for left, right in rows]


def _flags(flags: Iterable[Flag]) -> list[str]:
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        rows.append((f"{short}--{flag.name} {flag.metavar}".rstrip(), flag.help))
    width = max(len(left) for left, _ in rows) + 3
    room = max(30, min(_terminal_width(), 110) - width - 2)
    lines = []
    for left, right in rows:
        first, *more = textwrap.wrap(right, room) or [""]
        lines.append(f"  {left:<{width}}{first}".rstrip())
        lines += [" " * (width + 2) + line for line in more]
    return lines


def _terminal_width() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 100

"""From the words on the command line to an exit status: finds the command, runs it, tells what went wrong."""

from __future__ import annotations

import os
import sys

from sampan.cli import commands
from sampan.cli.failures import Failure, Usage
from sampan.cli.flags import AskedForHelp, Flag, did_you_mean, read
from sampan.cli.output import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.cli.flags import Command

INTERRUPTED = 130
CLOSED_PIPE = 141

GLOBAL_FLAGS = (
    Flag("host", "Daemon to talk to (unix:///path or tcp://host:port)", str, short="H", default=""),
    Flag("debug", "Show where an error comes from", short="D"),
    Flag("log-level", "Kept for Docker's sake", str, short="l", default="", metavar="level"),
    Flag("version", "Show the version", short="v"),
)


def run(words: Sequence[str]) -> int:
    """Runs one command line and returns its exit status; whatever happens is told in a sentence, never a traceback."""
    try:
        return _told(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        _give_up_stdout()
        return CLOSED_PIPE


def _give_up_stdout() -> None:
    """What is still in its buffer would only raise again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _told(words: Sequence[str]) -> int:
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        raise
    except Failure as failure:
        _debug()
        _flush()
        if failure.message:
            tell(f"sampan: {failure.message}")
        if isinstance(failure, Usage) and failure.hint:
            tell(f"\n{failure.hint}")
        return failure.code
    except OSError as error:
        _debug()
        _give_up_stdout()
        tell(f"sampan: {error.filename or 'input or output'}: {error.strerror or error}")
    except Exception as error:
        _debug()
        tell(f"sampan: this is a bug of sampan: {type(error).__name__}: {error} (SAMPAN_DEBUG=1 shows where)")
    return 1


def _debug() -> None:
    if os.environ.get("SAMPAN_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exc()


def _flush() -> None:
    """What was said before the error comes before it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        pass


def _dispatch(words: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "replace")
    try:
        options = read(words, GLOBAL_FLAGS, stops=True)
    except AskedForHelp:
        return _help_all()
    except Usage as wrong:
        raise Usage(wrong.message, "Run 'sampan --help' for more information") from None
    if options.debug:
        os.environ["SAMPAN_DEBUG"] = "1"
    if options.version:
        return _version()
    if not options.rest or options.rest == ["help"]:
        return _help_all()
    path, entry, rest = find(options.rest)
    if entry is None:
        from sampan.cli.help import group

        print(group(path))
        return 0
    return _run(path, entry, rest, options.host)


def find(words: Sequence[str]) -> tuple[str, commands.Entry | None, list[str]]:
    """The command's full name, its entry (None: a group alone, which shows its help) and the words left for it."""
    first, *rest = [*words[1:], "--help"] if words[0] == "help" else words
    if first in commands.GROUPS:
        table = commands.GROUPS[first][0]
        if not rest or rest[0] in ("--help", "-h"):
            return first, None, []
        verb = commands.ALIASES.get(first, {}).get(rest[0], rest[0])
        if verb not in table:
            raise _unknown(f"{first} {rest[0]}", rest[0], list(table), f"sampan {first}")
        return f"{first} {verb}", table[verb], rest[1:]
    if first not in commands.COMMANDS:
        raise _unknown(first, first, [*commands.COMMANDS, *commands.GROUPS], "sampan")
    if rest and rest[0] in commands.BELOW.get(first, {}):
        return f"{first} {rest[0]}", commands.BELOW[first][rest[0]], rest[1:]
    return first, commands.COMMANDS[first], rest


def _unknown(name: str, word: str, known: list[str], whose: str) -> Usage:
    return Usage(
        f"unknown command: sampan {name}{did_you_mean(word, known)}",
        f"Run '{whose} --help' for more information",
        code=1,
    )


def _run(path: str, entry: commands.Entry, words: list[str], host: str) -> int:
    command = commands.load(entry)
    hint = f"Usage:  sampan {path} {usage(command)}\n\nRun 'sampan {path} --help' for more information"
    try:
        args = read(words, command.flags, stops=command.stops)
    except AskedForHelp:
        from sampan.cli.help import describe

        print(describe(path, entry[2], command))
        return 0
    except Usage as wrong:
        raise Usage(wrong.message, hint) from None
    _count(path, command, len(args.rest), hint)
    args.server = host
    try:
        return command.run(args) or 0
    except Usage as wrong:
        wrong.hint = wrong.hint or f"Run 'sampan {path} --help' for more information"
        raise


def usage(command: Command) -> str:
    return " ".join(filter(None, ("[OPTIONS]" if command.flags else "", command.words)))


def _count(path: str, command: Command, count: int, hint: str) -> None:
    least, most = command.least, command.most
    if count >= least and (count <= most or most < 0):
        return
    wanted = f"at least {least}" if most < 0 else f"at most {most}" if count > most and most != least else str(least)
    arguments = "argument" if wanted.endswith(" 1") or wanted == "1" else "arguments"
    wanted = "no" if most == 0 else wanted
    raise Usage(f"'sampan {path}' takes {wanted} {arguments}", hint, code=1)


def _help_all() -> int:
    from sampan.cli.help import everything

    print(everything())
    return 0


def _version() -> int:
    from sampan import __version__

    print(f"sampan version {__version__}")
    return 0

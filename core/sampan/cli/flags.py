"""Reading a command line by the rules that Docker's users have in their fingers: those of Go's pflag.

``--name=value`` and ``--name value``, ``-p80:80``, ``-it``, ``--rm=false``, ``--`` as the end of flags; commands that
take another command line (``run``, ``exec``) stop at the first word that is no flag.

A command is a function that takes :class:`Args`, made known with :func:`command`. Why this and not click: see
docs/adr; in short, click takes three times as long to import as Python takes to start.
"""

from __future__ import annotations

from sampan.cli.failures import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


METAVARS = {"integer": "int", "size": "bytes", "cpus": "decimal", "duration": "duration"}
"""How help shows the value that a flag wants, by the name of the function that reads it; the others are strings."""


class Flag:
    """One flag. ``read`` turns the text into a value (ValueError says why not); ``bool`` needs no text."""

    __slots__ = ("default", "help", "many", "metavar", "name", "read", "short")

    def __init__(
        self,
        name: str,
        help: str = "",
        read: Callable[[str], Any] = bool,
        *,
        short: str = "",
        default: Any = None,
        many: bool = False,
        metavar: str = "",
    ) -> None:
        self.name = name
        self.help = help
        self.read = read
        self.short = short
        self.many = many
        self.default = False if read is bool and default is None else default
        self.metavar = metavar or ("" if read is bool else "list" if many else METAVARS.get(read.__name__, "string"))

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def value(self, text: str, spelled: str) -> Any:
        try:
            return boolean(text) if self.read is bool else self.read(text)
        except ValueError as why:
            raise Usage(f'invalid argument "{text}" for {spelled}: {why}') from None


def boolean(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("it is neither true nor false")


class Args:
    """What was read: one attribute per flag (dashes become underscores), ``rest``: the words that are no flags,
    ``given``: the names of the flags that were there, ``server``: the global ``-H``, or ``""``."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.rest: list[str] = []
        self.given: set[str] = set()
        self.server = ""
        for flag in flags:
            setattr(self, flag.key, [] if flag.many else flag.default)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Command:
    """A function with its flags. ``words`` is how usage shows the words that are no flags; ``least`` and ``most`` count
    them (``most`` < 0: any number); ``stops``: the first word that is no flag ends the flags."""

    __slots__ = ("examples", "flags", "least", "most", "run", "stops", "words")

    def __init__(
        self,
        run: Callable[[Args], int | None],
        words: str,
        flags: Sequence[Flag],
        *,
        least: int,
        most: int,
        stops: bool,
        examples: Sequence[str],
    ) -> None:
        self.run = run
        self.words = words
        self.flags = flags
        self.least = least
        self.most = most
        self.stops = stops
        self.examples = examples


def command(
    words: str = "",
    *flags: Flag,
    least: int = 0,
    most: int = 0,
    stops: bool = False,
    examples: Sequence[str] = (),
) -> Callable[[Callable[[Args], int | None]], Command]:
    """Makes a function a :class:`Command`."""

    def make(run: Callable[[Args], int | None]) -> Command:
        return Command(run, words, flags, least=least, most=most, stops=stops, examples=examples)

    return make


HELP = Flag("help", "Show this help")


class AskedForHelp(Exception):
    """``--help`` was among the flags."""


def read(words: Sequence[str], flags: Sequence[Flag], *, stops: bool) -> Args:
    """Parses ``words``. Raises Usage for what is wrong and AskedForHelp for ``--help``."""
    args = Args(flags)
    long = {flag.name: flag for flag in (*flags, HELP)}
    short = {"h": HELP} | {flag.short: flag for flag in flags if flag.short}
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            args.rest += words
            break
        if word.startswith("--"):
            _read_long(word, words, long, args)
        elif word.startswith("-") and len(word) > 1:
            _read_short(word, words, short, args)
        elif stops:
            args.rest += [word, *words]
            break
        else:
            args.rest.append(word)
    return args


def _read_long(word: str, words: list[str], known: dict[str, Flag], args: Args) -> None:
    name, equals, text = word[2:].partition("=")
    flag = known.get(name)
    if flag is None:
        raise Usage(f"unknown flag: --{name}{did_you_mean(name, known, '--')}")
    if not equals:
        if flag.read is bool:
            text = "true"
        elif words:
            text = words.pop(0)
        else:
            raise Usage(f"flag needs an argument: --{name}")
    _keep(flag, text, args)


def _read_short(word: str, words: list[str], known: dict[str, Flag], args: Args) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = known.get(letter)
        if flag is None:
            raise Usage(f"unknown shorthand flag: '{letter}' in {word}")
        if letters.startswith("="):
            text, letters = letters[1:], ""
        elif flag.read is bool:
            text = "true"
        elif letters:
            text, letters = letters, ""
        elif words:
            text = words.pop(0)
        else:
            raise Usage(f"flag needs an argument: '{letter}' in {word}")
        _keep(flag, text, args)


def _keep(flag: Flag, text: str, args: Args) -> None:
    if flag is HELP:
        raise AskedForHelp
    spelled = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    value = flag.value(text, spelled)
    args.given.add(flag.name)
    if flag.many:
        getattr(args, flag.key).append(value)
    else:
        setattr(args, flag.key, value)


def did_you_mean(word: str, known: Sequence[str] | dict[str, Any], prefix: str = "") -> str:
    """`` (did you mean …?)`` when something known is near, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""

"""Environment variables, labels and other ``key=value`` words, from flags and from files."""

from __future__ import annotations

import os

from sampan.cli.failures import Usage


def variables(files: list[str], words: list[str]) -> list[str]:
    """``--env-file`` and ``-e`` as ``NAME=value``; a name alone takes the value that it has here, if any."""
    found: dict[str, str] = {}
    for word in (*(line for file in files for line in lines(file)), *words):
        name, equals, _ = word.partition("=")
        if not name:
            raise Usage(f"invalid environment variable: {word}")
        if equals:
            found[name] = word
        elif name in os.environ:
            found[name] = f"{name}={os.environ[name]}"
        else:
            found[name] = name  # to Docker: the image's value is to be unset
    return list(found.values())


def lines(path: str) -> list[str]:
    """The lines of an environment or label file without comments and empty ones. Raises Usage."""
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123
            found = [line.strip("\r\n").lstrip() for line in file]
    except OSError as why:
        raise Usage(f"open {path}: {(why.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise Usage(f"{path} is not a text in UTF-8") from None
    kept = [line for line in found if line and not line.startswith("#")]
    for line in kept:
        name = line.partition("=")[0]
        if not name or any(blank in name for blank in " \t"):
            raise Usage(f"{path}: '{name}' is no name of a variable")
    return kept


def pairs(words: list[str]) -> dict[str, str]:
    """``key=value`` words; a key alone has an empty value."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def strict_pairs(words: list[str], flag: str) -> dict[str, str]:
    """``key=value`` words of a flag that needs both. Raises Usage."""
    for word in words:
        if "=" not in word:
            raise Usage(f'invalid argument "{word}" for --{flag}: write key=value')
    return pairs(words)

"""What an OCI binary says went wrong, as the sentence and the exit code that Docker's clients know."""

from __future__ import annotations

from sampan.errors import StartFailed

_NOT_FOUND = ("executable file", "no such file or directory", "not a directory")
_UNNAMED = "open executable:"  # crun has looked for it and may not execute it
_REFUSED = ("permission denied", "is a directory", "exec format error", "operation not permitted")

_LONGEST = 1000  # characters of a message
_PLAIN = {"operation not permitted": "permission denied"}


def told(log: bytes, program: str, command: str, spoken: bytes = b"") -> StartFailed:
    """From the binary's log, lines of JSON as runc writes them, and whatever else it said; if there is nothing, from
    what it has ``spoken`` instead.

    What concerns ``program``, the one to be executed, is told in runc's words; its code is 127 or 126, as a shell has
    it. Anything else is 128.
    """
    said = _last(log) or _last(spoken)
    if not said:
        return StartFailed(f"the OCI runtime's {command} failed and does not say why", 128)
    low = said.lower()
    named = program and program.lower() in low and ("exec" in low or "stat " in low)
    if named or low.startswith(_UNNAMED):
        if any(words in low for words in _NOT_FOUND):
            reason = (
                f"stat {program}: no such file or directory" if "/" in program else "executable file not found in $PATH"
            )
            return StartFailed(f'exec: "{program}": {reason}', 127)
        for words in _REFUSED:
            if words in low:
                return StartFailed(f'exec: "{program}": {_PLAIN.get(words, words)}', 126)
    return StartFailed(f"the OCI runtime's {command} failed: {said}", 128)


def _last(log: bytes) -> str:
    """The last thing that was told as an error, on one line."""
    found = ""
    for line in log.decode(errors="replace").splitlines():
        text, level = _message(line)
        if text and level != "warning":
            found = text
    plain = "".join(each if each.isprintable() else " " for each in found[:_LONGEST])
    what, colon, why = " ".join(plain.split()).rpartition(": ")
    return what + colon + (why[:1].lower() + why[1:] if why[:2].istitle() else why)


def _message(line: str) -> tuple[str, str]:
    if not line.startswith("{"):
        return line, "error"
    import json  # late: only what fails needs it

    try:
        entry = json.loads(line)
    except ValueError:
        return line, "error"
    return str(entry.get("msg", "")), str(entry.get("level", "error"))

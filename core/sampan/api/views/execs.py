"""Execs."""

from __future__ import annotations

from typing import Any

from sampan.types import Exec


def inspect(found: Exec) -> dict[str, Any]:
    """The answer of ``GET /exec/{id}/json``."""
    config = found.config
    command = config.get("Cmd") or [""]
    words = [command] if isinstance(command, str) else list(command)
    return {
        "ID": found.id,
        "ContainerID": found.container,
        "Running": found.running,
        "ExitCode": found.exit_code,
        "Pid": found.pid,
        "ProcessConfig": {
            "tty": bool(config.get("Tty")),
            "entrypoint": words[0],
            "arguments": words[1:],
            "privileged": bool(config.get("Privileged")),
            "user": config.get("User") or "",
        },
        "OpenStdin": bool(config.get("AttachStdin")),
        "OpenStdout": bool(config.get("AttachStdout")),
        "OpenStderr": bool(config.get("AttachStderr")),
        "CanRemove": not found.running and found.exit_code is not None,
        "DetachKeys": found.detach_keys,
    }

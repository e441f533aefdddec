"""A container's steps as a trace that Perfetto and Chrome open: the JSON object format of "Trace Event Format".

Complete events (``ph: X``) with times in microseconds; one process for each that took part, one thread for each of
its threads. Between creation and start may lie days: what is longer than a second is shown as a hundredth of one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_SECOND = 1_000_000_000
_SHOWN = _SECOND // 100
_CONTAINER = (1 << 22) + 1  # the pid under which the whole is shown: more than any can be (proc_sys_kernel(5), pid_max)


def events(name: str, operations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``operations`` as the daemon tells them."""
    tracks: dict[tuple[int, str], int] = {}
    made: list[dict[str, Any]] = [_called("process_name", _CONTAINER, 0, f"container {name}")]
    begin = 0
    for index, told in enumerate(operations):
        if index:
            before = operations[index - 1]
            gap = told["AtNano"] - before["AtNano"] - before["Took"]
            begin += before["Took"] + (_SHOWN if gap > _SECOND else max(0, gap))
        args = {"at": told["At"], "error": told["Error"]}
        made.append(_complete(told["Name"], "operation", begin, told["Took"], (_CONTAINER, 0), args))
        made += _steps(told["Steps"], begin, tracks)
    return made


def _steps(steps: Sequence[dict[str, Any]], begin: int, tracks: dict[tuple[int, str], int]) -> Iterator[dict[str, Any]]:
    for step in steps:
        pid, thread = step["Pid"], step["Thread"]
        if (pid, thread) not in tracks:
            if pid not in (known for known, _ in tracks):
                yield _called("process_name", pid, 0, f"{step['Who']} {pid}")
            tracks[pid, thread] = len(tracks) + 1
            yield _called("thread_name", pid, tracks[pid, thread], thread or step["Who"])
        args = {key.lower(): step[key] for key in ("Kind", "Object", "Driver", "Error") if step[key]}
        category = step["Kind"] or "step"
        where = (pid, tracks[pid, thread])
        yield _complete(step["What"], category, begin + step["Begin"], step["Took"], where, args)


def _complete(name: str, category: str, at: int, took: int, where: tuple[int, int], args: Any) -> dict[str, Any]:
    times = {"ts": at / 1000, "dur": took / 1000}
    return {"name": name, "cat": category, "ph": "X", **times, "pid": where[0], "tid": where[1], "args": args}


def _called(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}

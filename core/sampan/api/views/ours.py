"""What only this engine tells: how a container was made, and what is wrong, in the API's spelling. Times are in
nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api.times import or_never, rfc3339
from sampan.containers.explaining import Told
from sampan.diagnosis.walk import Verdict
from sampan.drivers.steps import Step
from sampan.drivers.types import Finding
from sampan.types import Container


def explained(container: Container, operations: Mapping[str, Told]) -> dict[str, Any]:
    """``Operations``: ``create`` and the last ``start``, as far as they were written down."""
    return {
        "Id": container.id,
        "Name": "/" + container.name,
        "Image": container.image_reference,
        "Status": str(container.state.status),
        "Created": or_never(container.created),
        "StartedAt": or_never(container.state.started_at),
        "Drivers": {
            "Storage": container.storage_driver,
            "Runtime": container.runtime,
            "Networks": sorted(container.endpoints),
        },
        "Operations": [_operation(name, operations[name]) for name in ("create", "start") if name in operations],
    }


def examined(findings: Sequence[Finding]) -> dict[str, Any]:
    """``Healthy`` unless something is wrong."""
    return {
        "Healthy": all(one.mark != "wrong" for one in findings),
        "Findings": [_finding(one) for one in findings],
    }


def walked(verdict: Verdict) -> dict[str, Any]:
    return {
        "Container": verdict.container,
        "Port": verdict.port,
        "Protocol": verdict.protocol,
        "Reachable": verdict.reachable,
        "Says": verdict.says,
        "Remedy": verdict.remedy,
        "Steps": [_finding(one) for one in verdict.steps],
    }


def _finding(found: Finding) -> dict[str, str]:
    return {"About": found.about, "Mark": found.mark, "Says": found.says, "Remedy": found.remedy}


def _operation(name: str, told: Told) -> dict[str, Any]:
    return {
        "Name": name,
        "At": rfc3339(told.at),
        "AtNano": told.at,
        "Took": told.took,
        "Error": told.error,
        "Steps": [_step(each) for each in told.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "What": step.what,
        "Kind": step.kind,
        "Object": step.object,
        "Driver": step.driver,
        "Who": step.who,
        "Pid": step.pid,
        "Thread": step.thread,
        "Begin": step.begin,
        "Took": max(0, step.end - step.begin),
        "Error": step.error,
    }

"""Create requests that nobody would write, against a real engine: a status and a sentence, or a container."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from harness import Engine, bodies

pytestmark = pytest.mark.root

EXAMPLES = int(os.environ.get("SAMPAN_EXAMPLES", "120"))
"""More of them take longer and find more."""


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies.bodies(), version=some.sampled_from(["1.24", "1.39", "1.41", "1.43", "1.47", "1.50"]))
def test_create_never_answers_500_and_leaves_nothing(
    engine: Engine, shell: str, body: dict[str, Any], version: str
) -> None:
    text = json.dumps({**body, "Image": shell}).encode()
    status, answer = engine.api("POST", f"/v{version}/containers/create", text)
    if status == 201:
        assert engine.api("GET", f"/containers/{answer['Id']}/json")[0] == 200
        assert engine.api("DELETE", f"/containers/{answer['Id']}?v=1")[0] == 204
    else:
        assert status in (400, 404, 409, 501), answer
        assert answer["message"]
    assert engine.api("GET", "/containers/json?all=1")[1] == []
    for volume in engine.api("GET", "/volumes")[1]["Volumes"]:  # those with a name stay when the container goes
        assert status == 201
        assert engine.api("DELETE", f"/volumes/{volume['Name']}")[0] == 204
    roots = engine.root / "data/storage/overlayfs/containers"
    engine.wait_until(lambda: not list(roots.iterdir()), "the container's root is gone")

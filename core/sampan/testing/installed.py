"""What ``sampan drivers test NAME`` runs: the kit, on a driver that some installed package announces.

The environment says which: ``SAMPAN_KIT`` is JSON with ``family``, ``name``, ``options``, and ``networks``,
the options of networks that the suite makes.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import entry_points

import pytest

from sampan import decode
from sampan.errors import SampanError
from sampan.testing.suites import suite


def _suite(family: str, name: str, options: object, networks: dict[str, str]) -> type:
    try:
        [entry] = entry_points(group=f"sampan.{family}", name=name)
        kind = entry.load()
        return suite(family, kind, decode.struct(options, kind.Options, (family, "options", name)), name, networks)
    except SampanError as error:
        pytest.exit(error.message, returncode=pytest.ExitCode.USAGE_ERROR)
    except Exception as error:
        why = f"{family} driver {name!r} cannot be loaded: {type(error).__name__}: {error}"
        pytest.exit(why, returncode=pytest.ExitCode.USAGE_ERROR)


TestInstalledDriver = _suite(**json.loads(os.environ["SAMPAN_KIT"]))

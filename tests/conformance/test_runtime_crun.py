"""``crun`` through the kit; in a file of its own, so that it is run beside the others."""

from __future__ import annotations

import pytest

from sampan.testing.runtime import RuntimeDriverTests
from sampan_runtime.oci.driver import Crun

pytestmark = pytest.mark.root


class TestCrun(RuntimeDriverTests):
    driver_class = Crun
    driver_name = "crun"

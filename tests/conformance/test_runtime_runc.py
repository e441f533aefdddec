"""``runc`` through the kit; in a file of its own, so that it is run beside the others."""

from __future__ import annotations

import pytest

from sampan.testing.runtime import RuntimeDriverTests
from sampan_runtime.oci.driver import Runc

pytestmark = pytest.mark.root


class TestRunc(RuntimeDriverTests):
    driver_class = Runc
    driver_name = "runc"

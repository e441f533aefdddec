"""The built-in runtime drivers, through the kit that everybody's drivers go through."""

from __future__ import annotations

import pytest

from sampan.testing.runtime import RuntimeDriverTests
from sampan_runtime.lxc.driver import Lxc
from sampan_runtime.native.driver import Native

pytestmark = pytest.mark.root


class TestNative(RuntimeDriverTests):
    driver_class = Native
    driver_name = "native"


class TestLxc(RuntimeDriverTests):
    driver_class = Lxc
    driver_name = "lxc"

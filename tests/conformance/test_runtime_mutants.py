"""The kit catches runtime drivers that are wrong."""

from __future__ import annotations

import pytest

from mutants.judging import MutantTests
from mutants.runtime import MUTANTS
from sampan.drivers import RuntimeDriver


@pytest.mark.root
@pytest.mark.timeout(180)
class TestRuntimeMutants(MutantTests):
    mutants = MUTANTS
    contract = RuntimeDriver

"""The kit catches storage drivers that are wrong."""

from __future__ import annotations

import pytest

from mutants.judging import MutantTests
from mutants.storage import MUTANTS
from sampan.drivers import StorageDriver


@pytest.mark.root
@pytest.mark.timeout(180)
class TestStorageMutants(MutantTests):
    mutants = MUTANTS
    contract = StorageDriver

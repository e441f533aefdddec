"""The kit catches network drivers that are wrong."""

from __future__ import annotations

import pytest

from mutants.judging import MutantTests
from mutants.network_beyond import MUTANTS
from sampan.drivers import NetworkDriver


@pytest.mark.root
@pytest.mark.timeout(180)
class TestNetworkMutants(MutantTests):
    mutants = MUTANTS
    contract = NetworkDriver

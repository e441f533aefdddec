"""Who has left gives its addresses back, whatever becomes of those who left networks of other drivers."""

from __future__ import annotations

import threading
import time
from typing import Any

from sampan.drivers.types import EndpointSpec, NetworkSpec, Subnet
from sampan.networks.addresses import Addresses
from sampan.networks.leaving import Leaving


class Driver:
    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()

    def leave(self, *_: Any) -> None:
        self.asked.set()
        self.answer.wait(10)


def leave(leaving: Leaving, driver: Any, name: str) -> Addresses:
    network = NetworkSpec(id=name, name=name, driver=name, subnets=(Subnet(subnet="10.5.0.0/29", gateway="10.5.0.1"),))
    addresses = Addresses(network)
    given = addresses.allocate(("10.5.0.2",))
    leaving.later(driver, network, EndpointSpec(id=name, container="c", interface="eth0", addresses=given), addresses)
    return addresses


def test_a_driver_that_hangs_keeps_its_own_addresses_and_nobody_elses() -> None:
    leaving, slow, quick = Leaving(), Driver(), Driver()
    kept = leave(leaving, slow, "slow")
    assert slow.asked.wait(5)
    quick.answer.set()
    free = leave(leaving, quick, "quick")
    assert leaving.settle("quick", 5)
    assert free.allocate(("10.5.0.2",)) == ("10.5.0.2/29",)
    assert not leaving.settle("quick")
    began = time.monotonic()
    assert leaving.settle("slow", 0.05)
    assert time.monotonic() - began < 3
    assert "10.5.0.2/29" not in [kept.allocate()[0] for _ in range(4)]
    slow.answer.set()
    leaving.settle("slow", 5)
    assert kept.allocate() == ("10.5.0.2/29",)
    leaving.close()

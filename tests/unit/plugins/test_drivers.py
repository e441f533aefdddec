"""Drivers: found wherever they come from, checked, and never able to stop the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sampan import config, plugins
from sampan.config import Config
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unavailable
from sampan.plugins import Drivers, Found

Package = Callable[..., str]

DRIVER = """
import time
import msgspec
from sampan.drivers import NetworkDriver
from sampan.drivers.types import Check, NetworkFeatures

class Cable(NetworkDriver):
    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        color: str = "red"
        metres: int = 1

    def check(self): return Check(True)
    def features(self): return NetworkFeatures(sandbox="own")
"""


def drivers(text: str = "") -> Drivers:
    return Drivers(config.parse(text), "0123abcd")


def report(name: str, made: Drivers | None = None) -> list[Found]:
    return [found for found in (made or drivers()).found() if found.name == name]


def test_a_third_partys_driver_is_like_the_built_in_ones(package: Package) -> None:
    name = package("sampan.network", "cable = {module}:Cable", DRIVER, version="2.5")
    made = drivers("network: {driver: cable, options: {cable: {metres: 7}}}\ndata_root: /srv/boats")
    driver = made.network()
    assert driver is made.network("cable")
    assert (driver.options.color, driver.options.metres) == ("red", 7)  # type: ignore[attr-defined]
    assert driver.host.instance == "0123abcd"
    assert driver.host.data_root == Path("/srv/boats/network/cable")
    assert driver.host.exec_root == Path("/run/sampan/network/cable")
    [found] = report("cable", made)
    assert (found.family, found.package, found.version) == ("network", name, "2.5")
    assert (found.usable, found.reason, found.default) == (True, "", True)
    assert found.features["sandbox"] == "own"
    assert made.loaded("network")["cable"] is driver


BROKEN = [
    ("import nonsense_that_is_not_installed", "nonsense_that_is_not_installed"),
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("assert False, 'no luck'", "no luck"),
    ("def Cable(host, options): pass", "is not a NetworkDriver"),
    ("class Cable: pass", "is not a NetworkDriver"),
    ("Cabel = None", "Cable"),
    (DRIVER + "    def __init__(self, host, options): raise OSError('unplugged')", "OSError: unplugged"),
    (DRIVER + "    contract = 99", "speaks contract 99"),
    (DRIVER + "    def features(self): raise KeyError('x')", "cannot tell its features: KeyError"),
    (DRIVER + "    def check(self): return 1 / 0", "cannot check this host: ZeroDivisionError"),
    (DRIVER + "    def check(self): return Check(False, 'plug it in')", "plug it in"),
    (DRIVER.replace("    def features", "    def other"), "abstract"),
]


@pytest.mark.parametrize(("code", "reason"), BROKEN)
def test_a_broken_driver_is_reported_and_the_others_work(package: Package, code: str, reason: str) -> None:
    name = package("sampan.network", "cable = {module}:Cable", code)
    package("sampan.network", "good-cable = {module}:Cable", DRIVER)
    made = drivers()
    [found] = report("cable", made)
    assert not found.usable
    assert reason in found.reason
    assert found.package == name
    assert report("good-cable", made)[0].usable
    made.loaded("network")["good-cable"].features()


@pytest.mark.parametrize("where", ["time.sleep(60)\n" + DRIVER, DRIVER + "    def check(self): time.sleep(60)"])
def test_a_driver_that_hangs_is_left_behind(package: Package, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(plugins, "PATIENCE", 0.3)
    package("sampan.network", "cable = {module}:Cable", "import time\n" + where)
    made = drivers()
    began = time.monotonic()
    [found] = report("cable", made)
    assert "within 0.3 seconds" in found.reason
    for _ in range(3):  # it is not waited for again
        with pytest.raises(Unavailable, match="within"):
            made.network("cable")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "    def restore(self, *known): time.sleep(60)",
            "could not put right what an earlier daemon left within 0.3 sec",
        ),
        (
            "    def restore(self, *known): raise KeyError('x')",
            "cannot put right what an earlier daemon left: KeyError",
        ),
    ],
)
def test_a_driver_that_cannot_restore_is_not_used(
    package: Package, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(plugins, "RESTORING", 0.3)
    package("sampan.network", "cable = {module}:Cable", DRIVER + code)
    made = drivers()
    made.restored("network", "cable", lambda: made.network("cable").restore({}, []))
    assert reason in report("cable", made)[0].reason
    with pytest.raises(Unavailable, match="earlier daemon"):
        made.network("cable")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("    def restore(self, *known): raise OSError(5, 'worn out')", "earlier daemon left: OSError: .* worn out"),
        ("    def restore(self, *known): time.sleep(60)", "earlier daemon left within 0.3 seconds"),
    ],
)
def test_a_default_driver_that_cannot_restore_is_the_callers_to_judge(
    package: Package, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(plugins, "DEFAULT_RESTORING", 0.3)
    package("sampan.network", "cable = {module}:Cable", DRIVER + code)
    made = drivers("network: {driver: cable}")
    with pytest.raises(Unavailable, match=reason):
        made.restored("network", "cable", lambda: made.network().restore({}, []))
    with pytest.raises(Unavailable, match=reason):  # what comes back late must find nothing that it could remove
        made.network()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [("raise KeyError('x')", "join() failed: KeyError: 'x'"), ("raise Conflict('taken')", "taken"), ("return", "")],
)
def test_what_goes_wrong_in_a_call_is_told_with_the_drivers_name(package: Package, answer: str, sentence: str) -> None:
    code = f"    def join(self, *wishes):\n        from sampan.errors import Conflict\n        {answer}"
    module = package("sampan.network", "cable = {module}:Cable", DRIVER + code)
    driver = drivers().network("cable")
    if not sentence:
        driver.join(None, None, None)  # type: ignore[arg-type] - it looks at nothing
        return
    with pytest.raises(SampanError) as failure:
        driver.join(None, None, None)  # type: ignore[arg-type]
    assert sentence in failure.value.message
    assert ("Conflict" in answer) == (module not in failure.value.message)


def test_a_host_that_is_put_right_is_believed(package: Package, tmp_path: Path) -> None:
    flag = tmp_path / "plugged"
    code = f"    def check(self):\n        import os\n        return Check(os.path.exists({str(flag)!r}), 'plug it in')"
    package("sampan.network", "cable = {module}:Cable", DRIVER + code)
    made = drivers()
    with pytest.raises(Unavailable, match="'cable' cannot be used here: plug it in"):
        made.network("cable")
    flag.touch()
    made.network("cable")


def test_two_packages_with_one_name_are_an_error_for_that_name(package: Package) -> None:
    names = [package("sampan.network", "cable = {module}:Cable", DRIVER, version=v) for v in ("1.0", "2.0")]
    made = drivers()
    with pytest.raises(Conflict, match="claimed by") as caught:
        made.network("cable")
    assert all(name in caught.value.message for name in names)
    assert sorted(found.package for found in report("cable", made)) == sorted(names)
    assert "cable" not in made.loaded("network")


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(NotFound, match="no storage driver is called 'zfs'; found here: overlayfs, vfs"):
        drivers().storage("zfs")


def test_a_name_may_not_lead_out_of_the_data_root(package: Package) -> None:
    package("sampan.network", "../../etc = {module}:Cable", DRIVER)
    [found] = report("../../etc")
    assert "no name for a driver" in found.reason


WRONG = [
    ("network: {options: {cable: {meters: 2}}}", "network.options.cable.meters: unknown key; did you mean 'metres'?"),
    ("network: {options: {cable: {metres: far}}}", "network.options.cable.metres: 'far' is not allowed; expected a wh"),
    ("network: {options: {cabel: {}}}", "network.options.cabel: unknown network driver; did you mean 'cable'?"),
    ("network: {driver: cabel}", "network.driver: 'cabel' is not allowed; expected one of "),
    ("network: {driver: rope}", "network.driver: network driver 'rope' ("),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_what_the_configuration_says_of_drivers_is_checked(package: Package, text: str, sentence: str) -> None:
    package("sampan.network", "cable = {module}:Cable", DRIVER)
    package("sampan.network", "rope = {module}:Cable", "1 / 0")
    with pytest.raises(Invalid) as caught:
        drivers(text).validate()
    assert sentence in caught.value.message


def test_options_of_a_broken_driver_are_passed_over(package: Package) -> None:
    package("sampan.network", "cable = {module}:Cable", DRIVER)
    package("sampan.network", "rope = {module}:Cable", "1 / 0")
    made = drivers("network: {driver: cable, options: {rope: {length: 3}}}")
    made._slots = {"network": made._slots["network"]}  # the built-in families have tests of their own
    made.validate()


def test_nothing_is_written_to_or_read_from_the_users_cache(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package("sampan.network", "cable = {module}:Cable", DRIVER)
    drivers().network("cable")
    assert not (tmp_path / "cache").exists()


def test_nothing_is_imported_before_it_is_asked_for(package: Package) -> None:
    package("sampan.network", "cable = {module}:Cable", "raise RuntimeError('imported')")
    drivers()


def test_found_can_be_told_as_json(package: Package) -> None:
    package("sampan.network", "cable = {module}:Cable", DRIVER)
    told = msgspec.json.decode(msgspec.json.encode(drivers().found()), type=list[Found])
    assert "cable" in [found.name for found in told]


def test_the_defaults_are_marked() -> None:
    defaults = {(found.family, found.name) for found in Drivers(Config(), "0123abcd").found() if found.default}
    assert defaults == {("storage", "overlayfs"), ("network", "bridge"), ("runtime", "native")}

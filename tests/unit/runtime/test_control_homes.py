"""Groups of containers with a cgroup parent: where they are, and what is remembered of that and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_runtime.control.homes import Homes, resolve

ONE, TWO = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/boats/one", "/cg/memory/boats/one"),
        ("/boats//./one/", "/cg/memory/boats/one"),
        ("/../../one", "/cg/memory/one"),
        ("boats/one", "/cg/memory/system.slice/sampan.service/boats/one"),
        ("../one", "/cg/memory/system.slice/sampan.service/one"),
    ],
)
def test_paths_start_at_the_root_or_at_the_daemons_own_group(path: str, group: str) -> None:
    own = {"/cg/memory": "/system.slice/sampan.service", "/cg/cpu": "/"}
    assert resolve(path, ["/cg/memory"], own) == {"/cg/memory": group}


@pytest.mark.parametrize(
    ("own", "group"),
    [
        ("/system.slice/sampan.service", "/cg/system.slice/boats/one"),
        ("/sampan", "/cg/boats/one"),
        ("/", "/cg/boats/one"),
    ],
)
def test_version_2_has_them_beside_the_daemon(own: str, group: str) -> None:
    """Its own group has a process, which forbids limits below."""
    places = {"/cg": own, "/other": own}
    found = resolve("boats/one", places, places, "/cg")
    assert (found["/cg"], found["/other"]) == (group, f"/other{own.rstrip('/')}/boats/one")
    assert resolve("/boats/one", places, places, "/cg")["/cg"] == "/cg/boats/one"


def test_a_daemon_in_the_root_group(tmp_path: Path) -> None:
    assert resolve("a/b", ["/cg/cpu"], {"/cg/cpu": "/"}) == {"/cg/cpu": "/cg/cpu/a/b"}


def test_a_later_daemon_knows_them(tmp_path: Path) -> None:
    home = {str(tmp_path): f"{tmp_path}/boats/{ONE}"}
    Homes(tmp_path / "kept").keep(ONE, home)
    later = Homes(tmp_path / "kept")
    assert (later.known(), later.get(ONE)) == ({ONE}, home)
    later.forget(ONE)
    later.forget(ONE)
    assert not (tmp_path / "kept").exists()


def test_what_a_crash_cut_off_is_passed_over(tmp_path: Path) -> None:
    Homes(tmp_path / "kept").keep(ONE, {"/x": f"/x/{ONE}"})
    (tmp_path / "kept" / f"{TWO}.new").write_text("{")
    (tmp_path / "kept" / TWO).write_text("{")
    assert Homes(tmp_path / "kept").known() == {ONE}


def test_groups_that_were_made_above_go_with_the_last_container(tmp_path: Path) -> None:
    place = str(tmp_path / "memory")
    (tmp_path / "memory" / "theirs").mkdir(parents=True)
    homes = Homes(tmp_path / "kept")
    for ident in (ONE, TWO):
        homes.keep(ident, {place: f"{place}/theirs/ours/{ident}"})
        Path(f"{place}/theirs/ours/{ident}").mkdir(parents=True)
    Path(f"{place}/theirs/ours/{ONE}").rmdir()
    homes.forget(ONE)
    assert Path(f"{place}/theirs/ours").is_dir()
    later = Homes(tmp_path / "kept")
    Path(f"{place}/theirs/ours/{TWO}").rmdir()
    later.forget(TWO)
    assert not Path(f"{place}/theirs/ours").exists()
    assert Path(f"{place}/theirs").is_dir(), "it was there before us, empty or not"


def test_a_group_that_somebody_else_uses_now_stays(tmp_path: Path) -> None:
    place = str(tmp_path / "memory")
    homes = Homes(tmp_path / "kept")
    homes.keep(ONE, {place: f"{place}/ours/{ONE}"})
    (tmp_path / "memory" / "ours" / "a-guest").mkdir(parents=True)
    homes.forget(ONE)
    assert (tmp_path / "memory" / "ours").is_dir()

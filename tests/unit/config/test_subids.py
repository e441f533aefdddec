"""``runtime.userns_remap``: from a user's name to ids of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan import subids
from sampan.config import Config, RuntimeConfig
from sampan.errors import Invalid
from sampan.linux.idmaps import Range


def wanted(tmp_path: Path, remap: str, subuid: str = "", subgid: str | None = None) -> Config:
    files = {"subuid": subuid, "subgid": subuid if subgid is None else subgid}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    runtime = RuntimeConfig(userns_remap=remap, subuid_file=tmp_path / "subuid", subgid_file=tmp_path / "subgid")
    return Config(data_root=Path("/data"), exec_root=Path("/exec"), runtime=runtime)


def test_off(tmp_path: Path) -> None:
    config = wanted(tmp_path, "")
    ids = subids.find(config)
    assert not ids
    assert subids.rooted(config, ids) is config


@pytest.mark.parametrize("remap", ["root", "0", "root:root", "0:0", "root:0"])
@pytest.mark.parametrize("owner", ["root", "0"])
def test_a_user_by_name_or_number(tmp_path: Path, remap: str, owner: str) -> None:
    ids = subids.find(wanted(tmp_path, remap, f"# a file\nxy:1:2\n{owner}:100000:65536\n", f"{owner}:200000:1000"))
    assert (ids.uids, ids.gids) == ((Range(0, 100_000, 65_536),), (Range(0, 200_000, 1000),))


def test_default_is_docker_s_user_who_need_not_exist(tmp_path: Path) -> None:
    ids = subids.find(wanted(tmp_path, "default", "root:1000:5\ndockremap:700000:65536\n"))
    assert ids.root == (700_000, 700_000)


def test_several_ranges_follow_one_another(tmp_path: Path) -> None:
    ids = subids.find(wanted(tmp_path, "root", "root:900000:10\nroot:100000:20\n"))
    assert ids.uids == (Range(0, 900_000, 10), Range(10, 100_000, 20))


def test_other_ids_have_other_roots(tmp_path: Path) -> None:
    config = wanted(tmp_path, "root", "root:100000:65536", "root:200000:65536")
    rooted = subids.rooted(config, subids.find(config))
    assert (rooted.data_root, rooted.exec_root) == (Path("/data/100000.200000"), Path("/exec/100000.200000"))


@pytest.mark.parametrize(
    ("remap", "text", "said"),
    [
        ("nobody-of-this-name", "", "there is no user 'nobody-of-this-name' in /etc/passwd"),
        ("4294967290", "", "there is no user '4294967290' in /etc/passwd"),
        ("root:no-such-group", "", "there is no group 'no-such-group' in /etc/group"),
        ("root:root:root", "", "is neither default, USER, UID nor USER:GROUP"),
        (":root", "", "is neither default, USER, UID nor USER:GROUP"),
        ("root:", "", "is neither default, USER, UID nor USER:GROUP"),
        ("default", "", "subuid has no ids for dockremap: it needs a line such as dockremap:100000:65536"),
        ("root", "xroot:100000:65536\n", "subuid has no ids for root"),
        ("root", "root:100000\n", "subuid:1 is not NAME:FIRST:COUNT: 'root:100000'"),
        ("root", "\nroot:-1:5\n", "subuid:2 is not NAME:FIRST:COUNT"),
        ("root", "root:0:65536\n", "gives root the ids 0:65536, which cannot be a container's"),
        ("root", "root:5:0\n", "gives root the ids 5:0, which cannot be a container's"),
        ("root", "root:4294967290:6\n", "gives root the ids 4294967290:6, which cannot be a container's"),
        ("root", "root:100000:10\nroot:100009:5\n", "gives root the id 100009 twice"),
        ("root", "".join(f"root:{100_000 + 10 * n}:5\n" for n in range(341)), "has 341 ranges for root"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, remap: str, text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        subids.find(wanted(tmp_path, remap, text))
    assert said in caught.value.message
    assert caught.value.message.startswith("runtime.userns_remap: ")


def test_groups_may_be_missing_alone(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="subgid has no ids for root"):
        subids.find(wanted(tmp_path, "root", "root:100000:65536", ""))


def test_a_file_that_is_missing_has_no_ids(tmp_path: Path) -> None:
    config = wanted(tmp_path, "root", "root:100000:65536")
    (tmp_path / "subgid").unlink()
    with pytest.raises(Invalid, match="subgid has no ids for root"):
        subids.find(config)

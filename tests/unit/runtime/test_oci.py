"""The oci driver's parts that need no container: fitting a configuration, and what binaries say went wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.types import INIT, Bundle, Host
from sampan.linux import capabilities
from sampan.testing.runtime.spec import command
from sampan_runtime.oci import failures, fitting
from sampan_runtime.oci.driver import Crun, Oci
from sampan_runtime.outside.groups import OutsideGroups


@pytest.fixture
def groups(tmp_path: Path) -> OutsideGroups:
    return OutsideGroups("0" * 8, tmp_path, "crun", {"memory": "/sys/fs/cgroup/memory", "pids": "/sys/fs/cgroup/pids"})


def fitted(groups: OutsideGroups, spec: dict[str, Any]) -> dict[str, Any]:
    return fitting.config(spec, groups, group="/sampan/boat", init="/usr/bin/tini")


# ── config.json ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_engines_configuration_is_not_changed(groups: OutsideGroups) -> None:
    spec = command("true", domainname="sea", annotations={INIT: "true"})
    before = json.dumps(spec)
    fitted(groups, spec)
    assert json.dumps(spec) == before


def test_the_group_is_ours_and_the_version_one_that_all_take(groups: OutsideGroups) -> None:
    made = fitted(groups, command("true"))
    assert made["linux"]["cgroupsPath"] == "/sampan/boat"
    assert made["ociVersion"] == "1.0.2"


def test_a_domain_name_is_said_so_that_older_binaries_know_it_too(groups: OutsideGroups) -> None:
    made = fitted(groups, command("true", domainname="sea"))
    assert made["linux"]["sysctl"] == {"kernel.domainname": "sea"}


def test_an_init_is_bound_in_and_executes_the_command(groups: OutsideGroups) -> None:
    made = fitted(groups, command("sleep", "1", annotations={INIT: "true"}))
    assert made["process"]["args"] == ["/dev/init", "--", "sleep", "1"]
    assert made["mounts"][-1]["source"] == "/usr/bin/tini"


def test_descriptors_of_others_get_a_path(groups: OutsideGroups) -> None:
    spec = command(
        "true", mounts=[{"destination": "/a", "source": "/proc/7/fd/9"}, {"destination": "/b", "source": "/b"}]
    )
    made = fitted(groups, spec)
    [(source, target)] = fitting.named(made, Path("/shelf"))
    assert source == "/proc/7/fd/9"
    assert [mount["source"] for mount in made["mounts"][-2:]] == [target, "/b"]
    assert spec["mounts"][-2]["source"] == "/proc/7/fd/9"


def test_nobody_gets_a_capability_that_we_have_not_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "permitted", lambda: capabilities.mask(["CAP_CHOWN"]))
    sets = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"]}
    made = fitting.process({"args": ["true"], "capabilities": sets})
    assert (made["capabilities"]["bounding"], made["capabilities"]["effective"]) == (["CAP_CHOWN"], [])


def test_without_the_right_to_it_nothing_is_protected_from_the_kernels_hunger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "permitted", lambda: 0)
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert "oomScoreAdj" not in fitting.process({"args": ["true"], "oomScoreAdj": own - 1})
    assert fitting.process({"args": ["true"], "oomScoreAdj": own + 1})["oomScoreAdj"] == own + 1


def test_a_home_is_always_told(groups: OutsideGroups) -> None:
    assert "HOME=/" in fitting.process({"args": ["true"], "env": ["A=b"]})["env"]
    assert fitting.process({"args": ["true"], "env": ["HOME=/home"]})["env"] == ["HOME=/home"]


def test_limits_without_a_controller_are_left_out(groups: OutsideGroups) -> None:
    wanted = {"devices": [{"allow": False}], "memory": {"limit": 1 << 26}, "cpu": {"shares": 512}}
    left = fitting.resources(wanted, groups)
    assert "cpu" not in left
    assert left["devices"] == [{"allow": False}]


def test_an_update_names_what_all_binaries_understand() -> None:
    wanted = {
        "memory": {"limit": 5, "swap": -1},
        "cpu": {"shares": 0, "cpus": ""},
        "pids": {"limit": -1},
        "devices": [],
    }
    assert fitting.given(wanted) == {"memory": {"limit": 5}}


def test_what_is_no_text_is_replaced() -> None:
    assert json.loads(fitting.encoded({"env": [os.fsdecode(b"A=\xff"), "ü"]})) == {"env": ["A=\ufffd", "ü"]}


# ── what went wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "program", "code", "words"),
    [
        ('exec: "no": executable file not found in $PATH', "no", 127, "executable file not found in $PATH"),
        ("executable file `no` not found in $PATH: No such file or directory", "no", 127, "not found in $PATH"),
        ("executable file `/no` not found: No such file or directory", "/no", 127, "stat /no: no such file"),
        ("open executable: Not a directory", "/etc/passwd/x", 127, "stat /etc/passwd/x: no such file"),
        ("open executable: Operation not permitted", "/etc", 126, "permission denied"),
        ('exec: "/etc": permission denied', "/etc", 126, "permission denied"),
        ("exec /x: exec format error", "/x", 126, "exec format error"),
        ("mount `/no/such` to `/data`: No such file or directory", "true", 128, "no such file or directory"),
        ("", "true", 128, "does not say why"),
    ],
)
def test_failures_have_the_codes_and_words_that_clients_know(said: str, program: str, code: int, words: str) -> None:
    log = json.dumps({"level": "warning", "msg": "never mind"}) + "\n" + json.dumps({"level": "error", "msg": said})
    told = failures.told(log.encode(), program, "create")
    assert (told.exit_code, words in told.message) == (code, True), told.message


def test_what_is_no_json_is_taken_as_it_is_and_warnings_are_passed_over() -> None:
    log = b'exec /x: exec format error\n{"level":"warning","msg":"late"}\n'
    assert failures.told(log, "/x", "start").exit_code == 126
    assert failures.told(b"{broken", "true", "create").message.endswith("{broken")


# ── the driver ───────────────────────────────────────────────────────────────────────────────────────────────────────


def driver(kind: type[Oci], tmp_path: Path, **options: Any) -> Oci:
    host = Host(instance="0" * 8, data_root=tmp_path / "data", exec_root=tmp_path / "exec")
    return kind(host, kind.Options(**options))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [(Oci, {}, "runtime.options.oci.path"), (Crun, {"path": "/no/such"}, "/no/such cannot be executed")],
)
@pytest.mark.root
def test_what_is_missing_is_said(tmp_path: Path, kind: type[Oci], options: dict[str, str], words: str) -> None:
    check = driver(kind, tmp_path, **options).check()
    assert (check.usable, words in check.reason) == (False, True), check.reason


@pytest.mark.root
def test_a_container_can_be_removed_without_its_binary(tmp_path: Path) -> None:
    gone = driver(Crun, tmp_path, path="/no/such")
    state = tmp_path / "exec" / "state" / ("a" * 64)
    (state / "inner").mkdir(parents=True)
    gone.restore([])
    assert not state.exists()


def test_a_command_may_be_called_as_the_init_is(tmp_path: Path) -> None:
    bundle = Bundle(id="a" * 64, path=tmp_path, spec=command(fitting.INIT_PATH))
    assert driver(Crun, tmp_path, path="/bin/true").order(bundle)["program"] == fitting.INIT_PATH

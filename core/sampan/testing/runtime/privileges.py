"""Who a container's process is and what it may: read inside, from /proc/self/status."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.linux import capabilities
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers, Outcome
from sampan.testing.runtime.spec import CAPABILITIES, command

_STATUS = ("cat", "/proc/self/status")
_SAILOR = {"user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 77]}}
_NO_DIRECTORIES = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
}
_NOT_SUPPORTED = "not supported"


def status(outcome: Outcome) -> dict[str, str]:
    return dict(line.split(":", 1) for line in outcome.out.replace("\t", " ").splitlines() if ":" in line)


def sets(found: dict[str, str]) -> dict[str, int]:
    return {name: int(found[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")}


class PrivilegeTests(Base):
    def test_user_and_groups_are_those_that_were_given(self, containers: Containers) -> None:
        found = status(containers.run(command(*_STATUS, process=_SAILOR)))
        assert found["Uid"].split() == ["1000"] * 4
        assert found["Gid"].split() == ["1001"] * 4
        assert sorted(found["Groups"].split(), key=int) == ["5", "77"]

    def test_root_has_none_of_the_engines_groups(self, containers: Containers) -> None:
        assert status(containers.run(command(*_STATUS)))["Groups"].split() in ([], ["0"])

    def test_capabilities_are_those_that_were_given(self, containers: Containers) -> None:
        wanted = capabilities.mask(CAPABILITIES) & capabilities.permitted()
        found = sets(status(containers.run(command(*_STATUS))))
        assert found == {"CapBnd": wanted, "CapEff": wanted, "CapPrm": wanted, "CapInh": 0, "CapAmb": 0}

    def test_a_user_has_no_capabilities_but_those_in_the_bounding_set(self, containers: Containers) -> None:
        process = {**_SAILOR, "capabilities": {"bounding": ["CAP_CHOWN"]}}
        found = sets(status(containers.run(command(*_STATUS, process=process))))
        assert found == {"CapBnd": 1, "CapEff": 0, "CapPrm": 0, "CapInh": 0, "CapAmb": 0}

    def test_ambient_capabilities_reach_a_user(self, containers: Containers) -> None:
        names = ["CAP_NET_BIND_SERVICE"]
        kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
        process = {**_SAILOR, "capabilities": dict.fromkeys(kinds, names)}
        found = sets(status(containers.run(command(*_STATUS, process=process))))
        assert set(found.values()) == {capabilities.mask(names)}

    def test_root_without_a_capability_cannot_do_what_it_is_for(self, containers: Containers) -> None:
        without: dict[str, Any] = {"capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")}}
        assert containers.run(command("chown", "7", "/tmp")).code == 0
        assert containers.run(command("chown", "7", "/tmp", process=without)).code != 0

    @pytest.mark.parametrize("wanted", [False, True])
    def test_no_new_privileges_is_as_asked(self, containers: Containers, wanted: bool) -> None:
        found = status(containers.run(command(*_STATUS, process={"noNewPrivileges": wanted})))
        assert found["NoNewPrivs"].strip() == str(int(wanted))

    @pytest.mark.parametrize(
        "process",
        [{}, {"noNewPrivileges": True}, {**_SAILOR, "capabilities": {}}],
        ids=["root", "no new privileges", "user"],
    )
    def test_seccomp_rules_are_in_force(self, containers: Containers, process: dict[str, Any]) -> None:
        script = "grep ^Seccomp: /proc/self/status; mkdir /tmp/x"
        spec = command("sh", "-c", script, process=process, linux={"seccomp": _NO_DIRECTORIES})
        outcome = containers.run(spec)
        assert outcome.out.split() == ["Seccomp:", "2"]
        assert _NOT_SUPPORTED in outcome.err, "the rule's own error number"
        assert outcome.code != 0

    def test_seccomp_rules_hold_for_what_is_executed_later(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "exec")
        running = containers.start(command("sleep", "1000", linux={"seccomp": _NO_DIRECTORIES}))
        assert _NOT_SUPPORTED in containers.execute(running, "mkdir", "/tmp/x").err

    def test_seccomp_rules_may_look_at_arguments(self, containers: Containers) -> None:
        rule: dict[str, Any] = {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
        rule["args"] = [{"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}]
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        outcome = containers.run(command("sh", "-c", "kill -0 $$ && kill -15 $$", linux={"seccomp": profile}))
        assert outcome.code == 1
        assert _NOT_SUPPORTED in outcome.err

    def test_without_rules_there_are_none(self, containers: Containers) -> None:
        assert status(containers.run(command(*_STATUS)))["Seccomp"].strip() == "0"

    def test_signals_are_neither_ignored_nor_blocked(self, containers: Containers) -> None:
        found = status(containers.run(command(*_STATUS)))
        assert {name: int(found[name], 16) for name in ("SigIgn", "SigBlk")} == {"SigIgn": 0, "SigBlk": 0}

    def test_limits_of_the_process_are_those_that_were_given(self, containers: Containers) -> None:
        limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
        outcome = containers.run(command("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c", process={"rlimits": limits}))
        assert outcome.out.split() == ["100", "200", "0"]

    def test_the_mask_for_new_files_is_the_usual_one_or_the_one_given(self, containers: Containers) -> None:
        assert containers.run(command("sh", "-c", "umask")).out == "0022\n"
        process = {"user": {"uid": 0, "gid": 0, "umask": 0o077}}
        assert containers.run(command("sh", "-c", "umask", process=process)).out == "0077\n"

    def test_the_out_of_memory_score_is_set(self, containers: Containers) -> None:
        spec = command("cat", "/proc/self/oom_score_adj", process={"oomScoreAdj": 321})
        assert containers.run(spec).out == "321\n"

    def test_the_tracer_and_the_parent_are_nobody_inside(self, containers: Containers) -> None:
        found = status(containers.run(command(*_STATUS)))
        assert (found["TracerPid"].strip(), found["PPid"].strip()) == ("0", "0")

"""Wrong runtime drivers: the daemon's half here, the monitor's half in :mod:`mutants.monitor`."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import msgspec

from mutants.judging import Mutants
from sampan.drivers.types import Bundle, Check, ExecProcess, Host, Order, RuntimeFeatures, Stats
from sampan.errors import Conflict, Invalid, NotFound, SampanError
from sampan.linux import capabilities, cgroups, namespaces
from sampan_runtime.native.driver import Native

MUTANTS = Mutants("runtime")
breaks = MUTANTS.breaks
breaks_1 = breaks if "memory" in cgroups.hierarchies() else lambda *_, **_known: lambda driver: driver
"""Where the promise is one of version 1 of cgroups alone."""


class Wrong(Native):
    """Without inits made ahead: what a mutant does to an order is done to the container. ``fault`` is for the other
    half, ``changed`` is laid over the order."""

    monitor_module = "mutants.monitor"
    fault: ClassVar[str] = ""
    changed: ClassVar[Mapping[str, Any]] = {}

    def order(self, bundle: Bundle) -> Order:
        return {**super().order(bundle), "fault": self.fault, **self.changed}

    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        return {**super().exec_order(process_, pid, spec), "fault": self.fault}


MUTANTS.control = Wrong


# ── the driver as such ───────────────────────────────────────────────────────────────────────────────────────────


@breaks("it speaks this contract", call="check", caught_by="test_it_is_written_for_this_contract")
class SpeaksAnotherLanguage(Wrong):
    contract = 2


@breaks("the constructor touches nothing", call="check", caught_by="test_check_and_features_answer_and_make_nothing")
class MakesItsRootFirst(Wrong):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        host.exec_root.mkdir(parents=True)


@breaks("what is missing is said", call="check", caught_by="test_check_and_features_answer_and_make_nothing")
class DoesNotSayWhatIsMissing(Wrong):
    def check(self) -> Check:
        return Check(False)


@breaks("features are constant", call="features", caught_by="test_check_and_features_answer_and_make_nothing")
class CannotMakeUpItsMind(Wrong):
    said = False

    def features(self) -> RuntimeFeatures:
        self.said = not self.said
        return RuntimeFeatures(init=self.said)


@breaks("what is off has its reason", call="features", caught_by="test_every_feature_that_is_off_has_its_reason")
class GivesNoReason(Wrong):
    def features(self) -> RuntimeFeatures:
        return RuntimeFeatures(pause=False)


@breaks(
    "an order can travel", call="order", caught_by="test_an_order_travels_and_says_whether_there_is_a_terminal[True]"
)
class OrdersObjects(Wrong):
    def order(self, bundle: Bundle) -> Order:
        return {**super().order(bundle), "bundle": bundle}


@breaks(
    "an order repeats the terminal",
    call="order",
    caught_by="test_an_order_travels_and_says_whether_there_is_a_terminal[True]",
)
class ForgetsTheTerminal(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = dict(super().order(bundle))
        del made["terminal"]
        return made


@breaks("an order makes nothing", call="order", caught_by="test_an_order_makes_nothing_in_the_kernel")
class MakesGroupsWithTheOrder(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        for directory in made["cgroups"]:
            cgroups.make(directory)
        return made


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────


@breaks("the pid is the init's", call="order", caught_by="test_the_pid_is_the_inits_as_the_host_sees_it")
class TellsTheWrongPid(Wrong):
    fault = "tells the wrong pid"


@breaks(
    "the exit code is a shell's",
    call="order",
    caught_by="test_what_cannot_be_executed_fails_with_the_shells_code_and_leaves_nothing[no-such-program-127]",
)
class KnowsOneCode(Wrong):
    fault = "knows one code"


@breaks(
    "what cannot be executed is named",
    call="order",
    caught_by="test_what_cannot_be_executed_fails_with_the_shells_code_and_leaves_nothing[no-such-program-127]",
)
class DoesNotSayWhy(Wrong):
    fault = "does not say why"


@breaks(
    "a failed start leaves nothing",
    call="order",
    caught_by="test_what_cannot_be_executed_fails_with_the_shells_code_and_leaves_nothing[no-such-program-127]",
)
class LeavesGroupsBehind(Wrong):
    fault = "leaves groups behind"


@breaks(
    "a failure is one sentence",
    call="order",
    caught_by="test_a_world_that_cannot_be_made_fails_with_128_and_leaves_nothing[limit]",
)
class SaysTooMuch(Wrong):
    fault = "says too much"


@breaks("the environment is what was given", call="order", caught_by="test_nothing_of_the_engines_environment_gets_in")
class LendsItsEnvironment(Wrong):
    fault = "lends its environment"


@breaks(
    "arguments arrive as they were given",
    call="order",
    caught_by="test_environment_and_arguments_arrive_as_they_were_given",
)
class StripsArguments(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "args": [arg for arg in made["args"] if arg]}


@breaks("the working directory is entered", call="order", caught_by="test_the_working_directory_is_entered")
class StaysAtTheRoot(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"cwd": b"/"}


@breaks("many start at once", call="order", caught_by="test_many_start_and_end_at_once")
class OrdersOneAtATime(Wrong):
    ordering = False

    def order(self, bundle: Bundle) -> Order:
        if self.ordering:
            raise SampanError("another container is starting")
        self.ordering = True
        try:
            time.sleep(0.01)
            return super().order(bundle)
        finally:
            self.ordering = False


# ── streams and terminals ────────────────────────────────────────────────────────────────────────────────────────


@breaks("output and error are apart", call="order", caught_by="test_output_and_error_are_apart")
class MergesErrorIntoOutput(Wrong):
    fault = "merges error into output"


@breaks("input goes in", call="order", caught_by="test_input_goes_in_and_its_end_is_seen")
class HasNoInput(Wrong):
    fault = "has no input"


@breaks(
    "a terminal's first size is the one asked for",
    call="order",
    caught_by="test_a_terminals_first_size_is_the_one_asked_for",
)
class IgnoresTheSize(Wrong):
    fault = "loses its terminal"


# ── isolation ────────────────────────────────────────────────────────────────────────────────────────────────────


class Shares(Wrong):
    """Leaves the container in some of the host's namespaces."""

    shared: ClassVar[int] = 0

    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "flags": made["flags"] & ~self.shared}


@breaks("its users are others on the host", call="order", caught_by="test_its_processes_are_others_on_the_host")
class StaysTheHostsRoot(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"users": None}


@breaks(
    "what comes from the host is given to them", call="order", caught_by="test_its_processes_are_others_on_the_host"
)
class KeepsWhatIsTheirs(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"uids": [(0, 0, 65_536)], "gids": [(0, 0, 65_536)]}


@breaks("an exec's users are others, too", call="exec_order", caught_by="test_an_exec_is_in_it")
class ExecsAsTheHostsRoot(Wrong):
    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        made = super().exec_order(process_, pid, spec)
        return {**made, "flags": made["flags"] & ~namespaces.CLONE_NEWUSER}


@breaks("it has IPC of its own", call="order", caught_by="test_its_namespaces_are_not_the_hosts")
class SharesIpc(Shares):
    shared = namespaces.CLONE_NEWIPC


@breaks("its init is process 1", call="order", caught_by="test_its_init_is_process_1_and_sees_only_its_own")
class SharesPids(Shares):
    shared = namespaces.CLONE_NEWPID


@breaks("it has its host name", call="order", caught_by="test_it_has_the_hostname_and_the_host_keeps_its_own")
class HasTheHostsName(Shares):
    shared = namespaces.CLONE_NEWUTS


@breaks(
    "it is in the network namespace that was given",
    call="order",
    caught_by="test_the_network_namespace_is_the_one_at_the_path",
)
class StaysInTheHostsNetwork(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"joins": []}


@breaks("a host namespace is the host's", call="order", caught_by="test_a_host_namespace_is_the_hosts")
class IsolatesAnyway(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "flags": made["flags"] | namespaces.CLONE_NEWUTS}


@breaks("another one's namespace can be joined", call="order", caught_by="test_it_joins_another_ones_namespace[uts]")
class JoinsNobody(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        joins = [each for each in made["joins"] if each[0] == namespaces.CLONE_NEWNET]
        lost = sum(flag for flag, _ in made["joins"] if flag != namespaces.CLONE_NEWNET)
        return {**made, "joins": joins, "flags": made["flags"] | lost}


# ── mounts and devices ───────────────────────────────────────────────────────────────────────────────────────────


@breaks("mounts are made", call="order", caught_by="test_the_usual_file_systems_are_there")
class ForgetsAMount(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "mounts": [each for each in made["mounts"] if each[1] != b"/dev/shm"]}


@breaks("a read-only bind is read-only", call="order", caught_by="test_a_read_only_bind_is_read_only")
class BindsForWriting(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "mounts": [(*each[:3], each[3] & ~1, *each[4:]) for each in made["mounts"]]}


@breaks(
    "a read-only root is read-only",
    call="order",
    caught_by="test_a_read_only_root_is_read_only_and_what_is_mounted_on_it_is_not",
)
class WritesToReadOnlyRoots(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"read_only": False}


@breaks("masked paths hold nothing", call="order", caught_by="test_masked_paths_hold_nothing")
class MasksNothing(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"masked": []}


@breaks("read-only paths refuse even root", call="order", caught_by="test_read_only_paths_refuse_even_root")
class ProtectsNothing(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"read_only_paths": []}


@breaks("devices that were asked for are made", call="order", caught_by="test_a_device_that_was_asked_for_is_made")
class MakesNoDevices(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "devices": made["devices"][:6]}


@breaks(
    "devices that were not allowed cannot be used",
    call="order",
    caught_by="test_a_device_that_was_not_allowed_cannot_be_used",
)
class AllowsAllDevices(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        return {**made, "device_program": b"", "limits": [each for each in made["limits"] if "devices" not in each[0]]}


@breaks("kernel settings are made", call="order", caught_by="test_a_kernel_setting_of_its_own_namespace_is_made")
class SetsNothing(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"sysctl": []}


@breaks(
    "an image's links lead nowhere on the host",
    call="order",
    caught_by="test_a_directory_that_is_a_link_to_the_host_leads_nowhere[dev-absolute]",
)
class MakesMountPointsByPath(Wrong):
    fault = "makes mount points by path"


# ── privileges and limits ────────────────────────────────────────────────────────────────────────────────────────


@breaks("the user is the one that was given", call="order", caught_by="test_user_and_groups_are_those_that_were_given")
class RunsAllAsRoot(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"uid": 0, "gid": 0}


@breaks("capabilities are those that were given", call="order", caught_by="test_capabilities_are_those_that_were_given")
class GivesAllCapabilities(Wrong):
    def order(self, bundle: Bundle) -> Order:
        made = super().order(bundle)
        everything = {name: capabilities.permitted() for name in ("bounding", "effective", "permitted")}
        return {**made, "capabilities": {**made["capabilities"], **everything}}


@breaks("no-new-privileges holds", call="order", caught_by="test_no_new_privileges_is_as_asked[True]")
class GivesNewPrivileges(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"no_new_privileges": False}


@breaks("seccomp rules are in force", call="order", caught_by="test_seccomp_rules_are_in_force[root]")
class FiltersNothing(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"seccomp": None}


@breaks(
    "rlimits are those that were given", call="order", caught_by="test_limits_of_the_process_are_those_that_were_given"
)
class IgnoresRlimits(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"rlimits": []}


@breaks(
    "a limit of memory holds",
    call="order",
    caught_by="test_an_init_that_eats_more_than_its_memory_is_killed_and_it_is_told",
)
class FeedsEveryone(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"limits": []}


@breaks("a limit of processes holds", call="order", caught_by="test_no_more_processes_than_allowed")
class ForksForever(Wrong):
    changed: ClassVar[Mapping[str, Any]] = {"limits": []}


@breaks(
    "a death for want of memory is told",
    call="order",
    caught_by="test_it_is_told_too_when_it_was_only_a_process_of_the_inits",
)
class NeverStarves(Wrong):
    fault = "never starves"


@breaks(
    "another death is not one for want of memory",
    call="order",
    caught_by="test_another_death_is_not_told_as_one_for_want_of_memory",
)
class AlwaysStarves(Wrong):
    fault = "always starves"


# ── acting on a container ────────────────────────────────────────────────────────────────────────────────────────


@breaks("a signal reaches the init", call="signal", caught_by="test_a_signal_reaches_the_init[TERM]")
class SendsAlwaysKill(Wrong):
    def signal(self, container: str, pid: int, signal: int) -> None:
        super().signal(container, pid, 9)


@breaks("who is gone is not found", call="signal", caught_by="test_an_ended_container_gets_no_signal")
class SignalsTheDead(Wrong):
    def signal(self, container: str, pid: int, signal: int) -> None:
        with contextlib.suppress(NotFound):
            super().signal(container, pid, signal)


@breaks(
    "a pid that is somebody else's gets no signal",
    call="signal",
    caught_by="test_a_pid_that_is_somebody_elses_by_now_gets_no_signal",
)
class TrustsPids(Wrong):
    def signal(self, container: str, pid: int, signal: int) -> None:
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            raise NotFound(f"container {container[:12]} is not running") from None


@breaks("the init comes first", call="processes", caught_by="test_its_processes_are_known_the_init_first")
class ListsTheInitLast(Wrong):
    def processes(self, container: str, pid: int) -> list[int]:
        return sorted(super().processes(container, pid), reverse=True)


@breaks("all processes are told", call="processes", caught_by="test_its_processes_are_known_the_init_first")
class KnowsOnlyTheInit(Wrong):
    def processes(self, container: str, pid: int) -> list[int]:
        return [pid]


@breaks(
    "a paused container does nothing",
    call="pause",
    caught_by="test_a_paused_container_does_nothing_and_a_resumed_one_goes_on",
)
class OnlySaysItPaused(Wrong):
    def pause(self, container: str) -> None:
        return


@breaks(
    "all processes of a paused container stand still",
    call="pause",
    caught_by="test_all_processes_of_a_paused_container_stand_still",
)
class PausesTheInitAlone(Wrong):
    def pause(self, container: str) -> None:
        os.kill(self._init(container), signals.SIGSTOP)

    def resume(self, container: str) -> None:
        os.kill(self._init(container), signals.SIGCONT)

    def _init(self, container: str) -> int:
        return min(self._groups.processes(container))


@breaks(
    "resuming what has ended is nothing",
    call="resume",
    caught_by="test_one_that_has_ended_is_not_paused_and_resuming_it_is_nothing",
)
class ResumesWhatIsThere(Wrong):
    def resume(self, container: str) -> None:
        if not self._groups.processes(container):
            raise NotFound(f"container {container[:12]} is not running")
        super().resume(container)


@breaks(
    "what has ended is not paused",
    call="pause",
    caught_by="test_one_that_has_ended_is_not_paused_and_resuming_it_is_nothing",
)
class PausesTheDead(Wrong):
    def pause(self, container: str) -> None:
        with contextlib.suppress(NotFound):
            super().pause(container)


@breaks(
    "a resumed container goes on",
    call="resume",
    caught_by="test_a_paused_container_does_nothing_and_a_resumed_one_goes_on",
)
class ResumesOnce(Wrong):
    done = False

    def resume(self, container: str) -> None:
        if self.done:
            raise NotFound("it is not paused")
        self.done = True
        super().resume(container)


@breaks(
    "pausing can be repeated", call="pause", caught_by="test_a_paused_container_does_nothing_and_a_resumed_one_goes_on"
)
class PausesOnce(Wrong):
    def pause(self, container: str) -> None:
        if self._groups.frozen(container):
            raise Conflict(f"container {container[:12]} is paused")
        super().pause(container)


@breaks(
    "who can tell knows what others have frozen",
    call="frozen",
    caught_by="test_one_that_others_have_frozen_is_called_frozen_by_who_can_tell",
)
class RemembersWhomItHasPaused(Wrong):
    paused = False

    def pause(self, container: str) -> None:
        super().pause(container)
        self.paused = True

    def resume(self, container: str) -> None:
        super().resume(container)
        self.paused = False

    def frozen(self, container: str) -> bool:
        return self.paused


@breaks(
    "what others have frozen can be removed",
    call="remove",
    caught_by="test_one_that_others_have_frozen_can_be_removed",
)
class RemovesNoneThatIsFrozen(Wrong):
    def remove(self, container: str) -> None:
        if self._groups.frozen(container):
            raise Conflict(f"container {container[:12]} is frozen")
        super().remove(container)


@breaks("who goes on is not frozen", call="frozen", caught_by="test_a_container_that_goes_on_is_not_called_frozen")
class CallsAllFrozen(Wrong):
    def frozen(self, container: str) -> bool:
        return True


@breaks("what is usual can travel", call="usual", caught_by="test_what_is_usual_travels_and_makes_nothing")
class IsUsuallyNotANumber(Wrong):
    def usual(self, spec: Mapping[str, Any]) -> Any:
        return [float("nan")]


@breaks("a new limit holds at once", call="update", caught_by="test_less_memory_holds_at_once")
class UpdatesNothing(Wrong):
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        return


@breaks("all limits change or none", call="update", caught_by="test_limits_change_all_or_none")
class UpdatesOneByOne(Wrong):
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        for name, value in resources.items():
            super().update(container, {name: value})


@breaks("what the kernel refuses is invalid", call="update", caught_by="test_limits_change_all_or_none")
class RefusesWithoutAKind(Wrong):
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        try:
            super().update(container, resources)
        except SampanError as error:
            raise SampanError(error.message) from None


@breaks_1(
    "a limit below what is in use is a conflict",
    call="update",
    caught_by="test_a_limit_below_what_is_in_use_is_a_conflict",
)
class TellsConflictsAsInvalid(Wrong):
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        try:
            super().update(container, resources)
        except Conflict as error:
            raise Invalid(error.message) from None


@breaks("-1 is no limit", call="update", caught_by="test_limits_can_be_taken_away")
class SkipsWhatIsUnlimited(Wrong):
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        super().update(container, {k: v for k, v in resources.items() if k not in ("memory", "pids")})


@breaks("counters count", call="stats", caught_by="test_counters_grow")
class CountsNothingAtAll(Wrong):
    def stats(self, container: str) -> Stats:
        super().stats(container)
        return Stats()


@breaks("who does not run has no counters", call="stats", caught_by="test_an_ended_container_has_no_counters")
class CountsTheDead(Wrong):
    def stats(self, container: str) -> Stats:
        try:
            return super().stats(container)
        except NotFound:
            return Stats()


@breaks("no limit is -1", call="stats", caught_by="test_without_limits_the_counters_say_so")
class SaysZeroForNoLimit(Wrong):
    def stats(self, container: str) -> Stats:
        return msgspec.structs.replace(super().stats(container), memory_limit=0, pids_limit=0)


@breaks("starving is heard of", call="starvation", caught_by="test_starving_is_heard_of")
class CriesWolf(Wrong):
    def starvation(self, container: str) -> int | None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if super().starvation(container) else None


@breaks("who does not run cannot starve", call="starvation", caught_by="test_an_ended_container_cannot_starve")
class ListensToTheDead(Wrong):
    def starvation(self, container: str) -> int | None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


# ── what is made ahead ────────────────────────────────────────────────────────────────────────────────────────────


class Ahead(Wrong):
    """``ahead`` is the fault in what it makes ahead."""

    monitor_module = "mutants.ahead"
    ahead: ClassVar[str] = ""

    def usual(self, spec: Mapping[str, Any]) -> Any:
        return {"fault": self.ahead, "group": self._groups.parents[-1]}


_GIVEN_UP = "test_what_is_made_ahead_is_the_monitors_child_and_goes_when_it_is_given_up"


@breaks("what is made ahead is the monitor's child", call="usual", caught_by=_GIVEN_UP)
class KeepsToItselfWhatItMadeAhead(Ahead):
    ahead = "keeps it to itself"


@breaks("what is made ahead goes when it is given up", call="usual", caught_by=_GIVEN_UP)
class GivesNothingUp(Ahead):
    ahead = "gives nothing up"


@breaks(
    "a slot's next one removes what a killed starter left",
    call="usual",
    caught_by="test_what_a_killed_starter_made_ahead_is_removed_by_the_next_of_its_slot",
)
class LeavesClearingUpToOthers(Ahead):
    ahead = "leaves clearing up to others"


@breaks("warming up changes nothing", call="usual", caught_by="test_warming_up_changes_nothing")
class WarmsTooMuch(Ahead):
    pass


# ── exec ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Execs(Wrong):
    """``different`` is laid over the order of an exec."""

    different: ClassVar[Mapping[str, Any]] = {}

    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        return {**super().exec_order(process_, pid, spec), **self.different}


@breaks(
    "an exec runs in the container's world", call="exec_order", caught_by="test_an_exec_runs_in_the_containers_world"
)
class ExecsOutsideOfUts(Execs):
    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        made = super().exec_order(process_, pid, spec)
        return {**made, "flags": made["flags"] & ~namespaces.CLONE_NEWUTS}


@breaks(
    "an exec's failure has the shell's code",
    call="exec_order",
    caught_by="test_an_exec_of_what_cannot_be_executed_fails_with_the_shells_code[no-such-program-127]",
)
class KnowsOneCodeForExecs(Execs):
    fault = "knows one code"


@breaks("an exec is as its process says", call="exec_order", caught_by="test_an_exec_is_as_its_process_says")
class ExecsAsRoot(Execs):
    different: ClassVar[Mapping[str, Any]] = {"uid": 0, "gid": 0}


@breaks(
    "an exec is under the container's limits",
    call="exec_order",
    caught_by="test_an_exec_is_one_of_the_containers_processes_and_under_its_limits",
)
class ExecsOutsideOfTheGroups(Execs):
    different: ClassVar[Mapping[str, Any]] = {"tasks": []}


# ── the end, and crashes ─────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "all that was made goes with the exit", call="order", caught_by="test_all_that_was_made_goes_with_the_exit_alone"
)
class LeavesCleaningToOthers(Wrong):
    fault = "leaves cleaning to others"


@breaks("finishing never raises", call="order", caught_by="test_finishing_what_is_gone_already_says_nothing")
class MissesWhatIsGone(Wrong):
    fault = "misses what is gone"


@breaks("removing kills whatever is left", call="remove", caught_by="test_removing_kills_whatever_is_left")
class RemovesGently(Wrong):
    def remove(self, container: str) -> None:
        for pid in self._groups.processes(container):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)
        time.sleep(0.05)
        if self._groups.processes(container):
            raise SampanError(f"container {container[:12]} does not end")


@breaks("removing can be repeated", call="remove", caught_by="test_removing_can_be_repeated_and_needs_nothing")
class RemovesOnlyOnceRuntime(Wrong):
    def remove(self, container: str) -> None:
        if not any(os.path.isdir(each) for each in self._groups.directories(container)):  # noqa: PTH112
            raise NotFound(f"No such container: {container[:12]}")
        super().remove(container)


@breaks(
    "remove does the work of a killed monitor",
    call="remove",
    caught_by="test_a_killed_monitor_is_noticed_and_remove_does_its_work",
)
class RemovesNothing(Wrong):
    def remove(self, container: str) -> None:
        for pid in self._groups.processes(container):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


@breaks(
    "restore leaves the named alone",
    call="restore",
    caught_by="test_restoring_leaves_running_ones_alone_and_removes_the_others",
)
class RestoresByKillingAll(Wrong):
    def restore(self, running: Collection[str]) -> None:
        super().restore([])


@breaks(
    "restore removes the others",
    call="restore",
    caught_by="test_restoring_leaves_running_ones_alone_and_removes_the_others",
)
class RestoresNobody(Wrong):
    def restore(self, running: Collection[str]) -> None:
        return


@breaks(
    "restore leaves nothing of the instance where nothing runs",
    call="restore",
    caught_by="test_restoring_when_nothing_runs_any_more_leaves_no_group",
)
class KeepsAGroupForLater(Wrong):
    def restore(self, running: Collection[str]) -> None:
        super().restore(running)
        cgroups.make(self._groups.parents[-1])


@breaks(
    "restore touches no other instance",
    call="restore",
    caught_by="test_restoring_another_instance_touches_nothing_of_this_one",
)
class RestoresEveryInstance(Wrong):
    def restore(self, running: Collection[str]) -> None:
        super().restore(running)
        for place in (*self._groups.places, *filter(None, [self._groups.unified])):
            for group in _others(place, self._kit_names):
                for pid in cgroups.processes(group):
                    os.kill(pid, 9)

    _kit_names: ClassVar[set[str]] = set()

    def order(self, bundle: Bundle) -> Order:
        self._kit_names.add(bundle.id)
        return super().order(bundle)


def _others(place: str, names: Collection[str]) -> list[str]:
    """Groups of the containers of this process's mutant alone: others on this machine are not for it to harm."""
    found = (os.path.join(directory, name) for directory, dirs, _ in os.walk(place) for name in dirs)  # noqa: PTH118
    return [each for each in found if os.path.basename(each) in names]  # noqa: PTH119


@breaks("restore needs nothing to have run", call="restore", caught_by="test_restoring_where_nothing_ever_ran")
class RestoresOnlyWhatItKnows(Wrong):
    def restore(self, running: Collection[str]) -> None:
        for container in running:
            if not self._groups.processes(container):
                raise NotFound(f"No such container: {container[:12]}")
        super().restore(running)


@breaks(
    "a new daemon acts on what runs",
    call="processes",
    caught_by="test_a_new_daemon_acts_on_what_an_earlier_one_started",
)
class RemembersInMemory(Wrong):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self.mine: set[str] = set()

    def order(self, bundle: Bundle) -> Order:
        self.mine.add(bundle.id)
        return super().order(bundle)

    def processes(self, container: str, pid: int) -> list[int]:
        return super().processes(container, pid) if container in self.mine else []

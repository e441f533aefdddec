"""What containers may use and do use, on the real kernel: limits that hold, change and survive; counters; starving."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]
MB = 1 << 20
EATS = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null"
BUSY = "while :; do :; done"
HIERARCHIES = Path("/sys/fs/cgroup")


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    made = f"boat-{uuid.uuid4().hex[:8]}"
    yield made
    engine.api("DELETE", f"/containers/{made}?force=true&v=true")


def inspect(engine: Engine, name: str) -> Any:
    return engine.api("GET", f"/containers/{name}/json")[1]


def control(engine: Engine, name: str, version_1: str, version_2: str) -> str:
    """A control file of a running container's group, in whichever hierarchy this host has it."""
    pid = inspect(engine, name)["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        controller = version_1.partition(".")[0]
        place = HIERARCHIES / controller if controller in controllers.split(",") else HIERARCHIES
        file = version_1 if controllers else version_2
        found = Path(f"{place}{path}/{file}")
        if (controller in controllers.split(",") or not controllers) and found.exists():
            return found.read_text().strip()
    raise AssertionError(f"no group of {name} has {version_1} or {version_2}")


def memory_limit(engine: Engine, name: str) -> int:
    return int(control(engine, name, "memory.limit_in_bytes", "memory.max"))


def counters(engine: Engine, name: str, query: str = "stream=false&one-shot=true") -> Any:
    status, found = engine.api("GET", f"/containers/{name}/stats?{query}")
    assert status == 200, found
    return found


def happened(engine: Engine, name: str) -> list[str]:
    """The events of a container up to now."""
    query = f"since=1&until={time.time():.6f}&filters=%7B%22container%22:[%22{name}%22]%7D"
    said = engine.run("curl", "-sgN", "--unix-socket", engine.socket, f"http://x/events?{query}").out
    return [json.loads(line)["Action"] for line in said.splitlines()]


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_that_eats_more_than_its_memory_is_killed(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    done = cli("run", "--name", name, "-m", "32m", "--memory-swap", "32m", shell, "sh", "-c", f"exec {EATS}")
    assert done.code == 137
    state = inspect(engine, name)["State"]
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")


def test_a_process_that_starves_is_told_while_the_container_runs(engine: Engine, shell: str, name: str) -> None:
    script = f"{EATS}; sleep 1000"
    engine.docker("run", "-d", "--name", name, "-m", "32m", "--memory-swap", "32m", shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: inspect(engine, name)["State"]["OOMKilled"], "the death of a process is told")
    assert inspect(engine, name)["State"]["Running"]
    assert happened(engine, name).count("oom") == 1
    engine.docker("kill", name).ok()
    assert inspect(engine, name)["State"]["OOMKilled"]
    assert happened(engine, name).count("oom") == 1


def test_no_more_processes_than_allowed(cli: Cli, shell: str) -> None:
    done = cli("run", "--rm", "--pids-limit", "3", shell, "sh", "-c", "sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait")
    assert "fork" in done.stderr
    assert done.code != 0


def test_processors_are_rationed(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "-d", "--name", name, "--cpus", "0.2", shell, "sh", "-c", BUSY).ok()
    found = counters(engine, name, "stream=false")
    now, before = found["cpu_stats"], found["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = (now["system_cpu_usage"] - before["system_cpu_usage"]) / now["online_cpus"]
    assert 0 < used / passed < 0.5
    engine.wait_until(lambda: counters(engine, name)["cpu_stats"]["throttling_data"]["throttled_periods"], "it waited")


def test_it_runs_on_the_processors_that_it_was_given(cli: Cli, shell: str) -> None:
    script = "grep _allowed_list /proc/self/status"
    said = cli("run", "--rm", "--cpuset-cpus", "0", "--cpuset-mems", "0", shell, "sh", "-c", script).out
    assert re.findall(r":\s+(\S+)", said) == ["0", "0"]


def test_how_readily_it_is_killed_when_the_host_starves(cli: Cli, shell: str) -> None:
    assert cli("run", "--rm", "--oom-score-adj", "300", shell, "cat", "/proc/self/oom_score_adj").out == "300"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["-m", "5m"], "Minimum memory limit allowed is 6MB"),
        (
            ["-m", "20m", "--memory-swap", "10m"],
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (["--memory-swap", "10m"], "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (["--cpuset-cpus", "4000"], "Requested CPUs are not available - requested 4000, available: "),
        (["--cpu-period", "10"], "CPU cfs period can not be less than 1ms"),
        (["--device-read-bps", "/dev/no-such:1mb"], "stat /dev/no-such: no such file or directory"),
        (["--device-write-iops", "/dev/null:10"], "/dev/null is not a block device"),
        (["--cgroup-parent", "a/../../b"], "invalid cgroup parent"),
    ],
)
def test_limits_that_cannot_be_are_refused_at_create(
    engine: Engine, cli: Cli, shell: str, name: str, flags: list[str], sentence: str
) -> None:
    done = cli("create", "--name", name, *flags, shell, "true")
    assert sentence in done.stderr
    assert done.code == 1
    assert engine.api("GET", f"/containers/{name}/json")[0] == 404


def test_a_block_device_is_throttled(engine: Engine, shell: str, name: str) -> None:
    disks = [line.split()[3] for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    whole = [disk for disk in disks if Path(f"/sys/block/{disk}").exists() and Path(f"/dev/{disk}").is_block_device()]
    if not whole:
        pytest.skip("this machine has no disk")
    number = Path(f"/sys/block/{whole[-1]}/dev").read_text().strip()
    engine.docker("run", "-d", "--name", name, "--device-read-bps", f"/dev/{whole[-1]}:1mb", shell, "sleep", "99").ok()
    assert re.match(rf"{number} (rbps=)?1048576\b", control(engine, name, "blkio.throttle.read_bps_device", "io.max"))


@pytest.mark.needs("host_cgroups")
def test_the_hosts_cgroups_or_ones_own(cli: Cli, engine: Engine, shell: str) -> None:
    def sees(mode: str) -> str:
        return cli("run", "--rm", "--cgroupns", mode, shell, "grep", "-v", "^0:", "/proc/self/cgroup").stdout

    if not Path("/sys/fs/cgroup/memory").exists():
        pytest.skip("version 1 alone tells this way")
    assert engine.instance in sees("host")
    assert engine.instance not in sees("private")


# ── the cgroup parent ────────────────────────────────────────────────────────────────────────────────────────────


def groups(word: str) -> set[str]:
    return {str(path) for path in [*HIERARCHIES.glob(f"*/{word}"), *HIERARCHIES.glob(word)]}


def test_a_container_below_a_group_of_the_users(engine: Engine, shell: str, name: str) -> None:
    """It is found again after a crash, and the groups that were made for it go with it."""
    parent = f"fleet-{uuid.uuid4().hex[:8]}"
    ident = engine.docker(
        "run", "-d", "--name", name, "-m", "64m", "--cgroup-parent", f"/{parent}/inner", shell, "sleep", "1000"
    ).out
    assert groups(f"{parent}/inner/{ident}")
    engine.kill()
    engine.start()
    assert counters(engine, name)["memory_stats"]["limit"] == 64 * MB
    assert engine.docker("top", name).out.count("sleep 1000") == 1
    engine.docker("update", "-m", "48m", "--memory-swap", "96m", name).ok()
    assert memory_limit(engine, name) == 48 * MB
    assert engine.docker("exec", name, "echo", "ahoy").out == "ahoy"
    engine.docker("rm", "-f", name).ok()
    engine.wait_until(lambda: not groups(parent), "the groups are gone")


def test_a_group_that_was_there_stays(engine: Engine, shell: str) -> None:
    parent = f"fleet-{uuid.uuid4().hex[:8]}"
    theirs = next(each / parent for each in (HIERARCHIES / "memory", HIERARCHIES) if (each / "cgroup.procs").exists())
    theirs.mkdir()
    try:
        engine.docker("run", "--rm", "--cgroup-parent", f"/{parent}", shell, "true").ok()
        engine.wait_until(lambda: groups(parent) == {str(theirs)}, "what was made for it is gone")
    finally:
        theirs.rmdir()


# ── update ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_running_container_gets_other_limits(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("run", "-d", "--name", name, "-m", "64m", shell, "sleep", "1000").ok()
    flags = ["-m", "100m", "--memory-swap", "200m", "--cpus", "0.5", "--pids-limit", "9", "--cpuset-cpus", "0"]
    assert cli("update", *flags, "--restart", "on-failure:3", name).out == name
    assert memory_limit(engine, name) == 100 * MB
    assert control(engine, name, "pids.max", "pids.max") == "9"
    assert control(engine, name, "cpuset.cpus", "cpuset.cpus") == "0"
    assert control(engine, name, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    host = inspect(engine, name)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (
        100 * MB,
        200 * MB,
        5 * 10**8,
        9,
    )
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert cli("update", "--pids-limit", "-1", "-m", "32m", name).out == name
    assert (memory_limit(engine, name), control(engine, name, "pids.max", "pids.max")) == (32 * MB, "max")
    assert happened(engine, name).count("update") == 2


def test_an_update_that_is_refused_changes_nothing(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    ident = cli("run", "-d", "--name", name, "-m", "64m", "--cpus", "1", shell, "sleep", "1000").out
    done = cli("update", "-m", "400m", name)
    assert f"container {ident}: Memory limit should be smaller than already set memoryswap limit" in done.stderr
    assert done.code == 1
    status, answer = engine.api("POST", f"/containers/{name}/update", {"CpuQuota": 5000, "Memory": 32 * MB})
    assert (status, "CPU Quota cannot be updated as NanoCPUs has already been set" in answer["message"]) == (409, True)
    assert engine.api("POST", f"/containers/{name}/update", {"Memory": 1})[0] == 400
    assert engine.api("POST", "/containers/no-such/update", {})[0] == 404
    assert memory_limit(engine, name) == 64 * MB == inspect(engine, name)["HostConfig"]["Memory"]


def test_a_stopped_one_has_them_when_it_starts(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("create", "--name", name, shell, "sleep", "1000").ok()
    cli("update", "-m", "64m", "--memory-swap", "-1", name).ok()
    cli("start", name).ok()
    assert memory_limit(engine, name) == 64 * MB


def test_the_next_daemon_makes_limits_what_the_record_says(engine: Engine, shell: str, name: str) -> None:
    """As if the last one had died between changing the kernel's and its own."""
    engine.docker("run", "-d", "--name", name, "-m", "64m", "--pids-limit", "50", shell, "sleep", "1000").ok()
    pid = inspect(engine, name)["State"]["Pid"]
    groups_of = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    [file] = {
        path
        for _, controllers, group in groups_of
        for path in (Path(f"{HIERARCHIES}/pids{group}/pids.max"), Path(f"{HIERARCHIES}{group}/pids.max"))
        if controllers in ("", "pids") and path.exists()
    }
    engine.kill()
    file.write_text("7")
    engine.start()
    assert file.read_text() == "50\n"


# ── counters ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_counters_have_dockers_fields(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "-d", "--name", name, "-m", "64m", shell, "sleep", "1000").ok()
    found = counters(engine, name, "stream=false")
    assert (found["name"], found["id"]) == (f"/{name}", inspect(engine, name)["Id"])
    assert found["preread"] < found["read"]
    assert found["cpu_stats"]["system_cpu_usage"] > found["precpu_stats"]["system_cpu_usage"]
    assert found["cpu_stats"]["online_cpus"] >= 1
    assert found["memory_stats"]["limit"] == 64 * MB
    assert 0 < found["memory_stats"]["usage"] < 64 * MB
    assert {"total_inactive_file", "inactive_file"} & found["memory_stats"]["stats"].keys()
    assert found["pids_stats"]["current"] == 1
    assert "io_service_bytes_recursive" in found["blkio_stats"]
    assert found["networks"].keys() == {"eth0"}
    assert found["networks"]["eth0"].keys() == {
        f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
    }
    once = counters(engine, name)
    assert once["preread"] == "0001-01-01T00:00:00Z"
    assert "system_cpu_usage" not in once["precpu_stats"]


@pytest.mark.parametrize("network", ["host", "none"])
def test_no_network_no_counters_of_it(engine: Engine, shell: str, name: str, network: str) -> None:
    engine.docker("run", "-d", "--name", name, "--network", network, shell, "sleep", "1000").ok()
    assert "networks" not in counters(engine, name)


def test_one_that_does_not_run_has_zeros(engine: Engine, shell: str, name: str) -> None:
    engine.docker("create", "--name", name, shell, "true").ok()
    found = counters(engine, name, "stream=false")
    assert (found["read"], found["pids_stats"], found["memory_stats"]) == ("0001-01-01T00:00:00Z", {}, {})
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "networks" not in found


def test_a_stream_of_counters_goes_on(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "-d", "--name", name, shell, "sleep", "1000").ok()
    script = f"curl -sN --unix-socket {engine.socket} http://x/v1.41/containers/{name}/stats | head -n 2"
    first, second = map(json.loads, engine.run("sh", "-c", script).out.splitlines())
    assert second["preread"] == first["read"]
    assert second["precpu_stats"] == first["cpu_stats"]


def test_the_table_of_what_containers_use(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("run", "-d", "--name", name, "-m", "64m", shell, "sleep", "1000").ok()
    header, *rows = cli("stats", "--no-stream").out.splitlines()
    assert re.split(r"\s{2,}", header) == [
        *("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
    ]
    [mine] = [re.split(r"\s{2,}", row) for row in rows if name in row]
    assert re.fullmatch(r"\d+(\.\d+)?[KM]iB / 64MiB", mine[3])
    assert mine[2].endswith("%")
    assert mine[-1] == "1"
    assert cli("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", name).out == f"{name} 1"
    assert cli("stats", "--no-stream", "no-such").code == 1


# ── top, info ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_top_shows_pids_of_the_host(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("run", "-d", "--name", name, shell, "sleep", "1000").ok()
    pid = str(inspect(engine, name)["State"]["Pid"])
    assert [line.split() for line in cli("top", name, "-o", "pid,cmd").out.splitlines()] == [
        ["PID", "CMD"],
        [pid, "sleep", "1000"],
    ]
    assert cli("top", name).out.splitlines()[1].split()[1] == pid
    assert "unknown user-defined format specifier" in cli("top", name, "-o", "no-such").stderr
    cli("kill", name).ok()
    ended = cli("top", name)
    assert f"container {inspect(engine, name)['Id']} is not running" in ended.stderr
    assert engine.api("GET", f"/containers/{name}/top")[0] == 409


def test_info_tells_what_the_kernel_can_limit(engine: Engine) -> None:
    info = engine.api("GET", "/info")[1]
    assert info["MemoryLimit"] is info["PidsLimit"] is info["CpuCfsQuota"] is info["CPUSet"] is True
    version_1 = Path("/sys/fs/cgroup/memory")
    assert info["OomKillDisable"] is (version_1 / "memory.oom_control").exists()
    if version_1.exists():
        assert info["SwapLimit"] is (version_1 / "memory.memsw.limit_in_bytes").exists()
    assert all(each.startswith("WARNING: ") for each in info["Warnings"] or ())

"""The engine as a whole: ``/version`` and ``/info``."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sampan import __version__
from sampan.api.router import NEWEST, OLDEST
from sampan.api.times import rfc3339
from sampan.api.views import host
from sampan.config import RegistriesConfig, RegistryHost
from sampan.containers.requests import logconfig
from sampan.images.registry import proxies
from sampan.linux import abilities
from sampan.linux.abilities import Abilities
from sampan.types import Status

if TYPE_CHECKING:
    from sampan.engine import Engine


def version() -> dict[str, Any]:
    api, oldest = (f"{major}.{minor}" for major, minor in (NEWEST, OLDEST))
    kernel, arch = os.uname().release, host.architecture()
    details = {
        "ApiVersion": api,
        "Arch": arch,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": host.python(),
        "KernelVersion": kernel,
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "Sampan"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        "ApiVersion": api,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": host.python(),
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": "",
    }


def info(engine: Engine, listeners: int) -> dict[str, Any]:
    """``SystemInfo``."""
    config = engine.config
    states = Counter(container.state.status for container in engine.containers.list())
    system, system_version = host.operating_system()
    return {
        "ID": engine.instance,
        "Containers": states.total(),
        "ContainersRunning": states[Status.RUNNING],
        "ContainersPaused": states[Status.PAUSED],
        "ContainersStopped": states.total() - states[Status.RUNNING] - states[Status.PAUSED],
        "Images": len(engine.images.list()),
        "Driver": config.storage.driver,
        "DriverStatus": [
            ["Data root", str(config.data_root)],
            ["Storage drivers", " ".join(engine.drivers.loaded("storage"))],
        ],
        "DockerRootDir": str(config.data_root),
        "Plugins": _plugins(engine),
        **limits(abilities.of_host()),
        "IPv4Forwarding": host.forwards_ipv4(),
        "Debug": config.log_level == "debug",
        "NFd": host.open_files(),
        "NGoroutines": threading.active_count(),
        "SystemTime": rfc3339(time.time_ns()),
        "LoggingDriver": config.log.driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": host.cgroup_version(),
        "NEventsListener": listeners,
        "KernelVersion": os.uname().release,
        "OperatingSystem": system,
        "OSVersion": system_version,
        "OSType": "linux",
        "Architecture": os.uname().machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": host.memory(),
        "Name": os.uname().nodename,
        "Labels": list(config.labels),
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "DefaultRuntime": config.runtime.driver,
        "Runtimes": {name: {"path": name} for name in engine.drivers.loaded("runtime")},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns", *(["name=userns"] if engine.ids else [])],
        "DefaultAddressPools": [{"Base": str(p.base), "Size": p.size} for p in config.network.default_address_pools],
        "LiveRestoreEnabled": True,
        **_registries(config.registries),
        **_ABSENT,
        "Warnings": [*_open_doors(config.hosts), *warnings(abilities.of_host())] or None,
    }


def _open_doors(hosts: Sequence[str]) -> list[str]:
    return [
        f"WARNING: API is accessible on http://{host.removeprefix('tcp://')} without encryption. Access to the remote "
        "API is equivalent to root access on the host"
        for host in hosts
        if host.startswith("tcp://")
    ]


def limits(able: Abilities) -> dict[str, bool]:
    """What this kernel can limit."""
    return {
        "MemoryLimit": able.memory,
        "SwapLimit": able.swap,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": able.cpu_quota,
        "CpuCfsQuota": able.cpu_quota,
        "CPUShares": able.cpu_shares,
        "CPUSet": able.cpuset,
        "PidsLimit": able.pids,
        "OomKillDisable": able.oom_kill_disable,
    }


def warnings(able: Abilities) -> list[str]:
    """What it cannot, in Docker's words; nobody is warned of what version 2 does not have at all."""
    throttles = [f"blkio throttle.{name}_device" for name in ("read_bps", "write_bps", "read_iops", "write_iops")]
    lacking = [
        ("memory limit", able.memory),
        ("swap limit", able.swap),
        ("oom kill disable", able.oom_kill_disable or host.cgroup_version() == "2"),
        ("cpu cfs quota", able.cpu_quota),
        ("cpu cfs period", able.cpu_quota),
        ("cpu shares", able.cpu_shares),
        ("cpuset", able.cpuset),
        ("pids limit", able.pids),
        *((name, able.block_throttle) for name in throttles),
    ]
    found = [f"WARNING: No {what} support" for what, there in lacking if not there]
    return found if host.forwards_ipv4() else [*found, "WARNING: IPv4 forwarding is disabled"]


def _plugins(engine: Engine) -> dict[str, Any]:
    return {
        "Volume": ["local"],
        "Network": sorted(engine.drivers.loaded("network")),
        "Authorization": None,
        "Log": list(logconfig.DRIVERS),
    }


def _registries(config: RegistriesConfig) -> dict[str, Any]:
    """How registries are reached."""
    hosts = {"docker.io": RegistryHost(), **config.hosts}
    known = {
        name: {"Name": name, "Mirrors": host.mirrors, "Secure": not host.insecure, "Official": name == "docker.io"}
        for name, host in hosts.items()
    }
    proxy = proxies.told()
    return {
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
            "IndexConfigs": known,
            "Mirrors": hosts["docker.io"].mirrors or None,
        },
        "HttpProxy": proxy["http_proxy"],
        "HttpsProxy": proxy["https_proxy"],
        "NoProxy": proxy["no_proxy"],
    }


_ABSENT: dict[str, Any] = {
    "IndexServerAddress": "https://index.docker.io/v1/",
    "GenericResources": None,
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
    "Isolation": "",
    "InitBinary": "",
    "ContainerdCommit": {"ID": ""},
    "RuncCommit": {"ID": ""},
    "InitCommit": {"ID": ""},
    "CDISpecDirs": [],
    "FirewallBackend": {"Driver": "nftables"},
    "ProductLicense": "",
}
"""What is always so, and what this engine does not have, in the form in which clients expect to be told so."""

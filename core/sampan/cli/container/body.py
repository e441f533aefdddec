"""From the flags of ``run`` and ``create`` to the body of ``POST /containers/create`` (Engine API, ContainerCreate)."""

from __future__ import annotations

from sampan.cli.container import environment, mounts, ports, rates
from sampan.cli.failures import Usage
from sampan.cli.quantities import integer, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.flags import Args

UNHEALTHY = "sampan.restart-unhealthy"
"""The label that asks for a restart when the health checks fail: users of other clients set it by hand."""

ULIMITS = {
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
}


def build(args: Args, *, attach: tuple[bool, bool, bool], size: tuple[int, int] | None) -> dict[str, Any]:
    """The whole request. ``attach``: stdin, stdout, stderr; ``size``: rows and columns of our terminal.

    Raises Usage for what is wrong on the command line.
    """
    image, *words = args.rest
    exposed, bindings = ports.published(args.publish)
    binds, anonymous = mounts.volumes(args.volume)
    body = _config(args, image, words, attach)
    body["ExposedPorts"] = {**ports.exposed(args.expose), **exposed} or None
    body["Volumes"] = anonymous or None
    body["HostConfig"] = _host_config(args, binds, bindings)
    if size and args.tty:
        body["HostConfig"]["ConsoleSize"] = list(size)
    body["NetworkingConfig"] = _networking(args)
    return {key: value for key, value in body.items() if value is not None}


def _config(args: Args, image: str, words: list[str], attach: tuple[bool, bool, bool]) -> dict[str, Any]:
    labels = [*(line for file in args.label_file for line in environment.lines(file)), *args.label]
    config: dict[str, Any] = {
        "Image": image,
        "Cmd": words or None,
        "Hostname": args.hostname,
        "Domainname": args.domainname,
        "User": args.user,
        "AttachStdin": attach[0],
        "AttachStdout": attach[1],
        "AttachStderr": attach[2],
        "Tty": args.tty,
        "OpenStdin": args.interactive,
        "StdinOnce": attach[0] and args.interactive,
        "Env": environment.variables(args.env_file, args.env) or None,
        "WorkingDir": args.workdir,
        "Labels": environment.pairs(labels) | ({UNHEALTHY: "true"} if args.restart_unhealthy else {}),
        "StopSignal": args.stop_signal or None,
        "StopTimeout": args.stop_timeout,
        "Healthcheck": _health(args),
    }
    if args.entrypoint is not None:
        # An empty string in the list is how Docker's API says: not even the image's.
        config["Entrypoint"] = [args.entrypoint]
    return config


def _health(args: Args) -> dict[str, Any] | None:
    times = {
        "Interval": args.health_interval,
        "Timeout": args.health_timeout,
        "StartPeriod": args.health_start_period,
        "StartInterval": args.health_start_interval,
        "Retries": args.health_retries,
    }
    wanted = bool(args.health_cmd) or any(times.values())
    if args.no_healthcheck:
        if wanted:
            raise Usage("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not wanted:
        return None
    for key, value in times.items():
        if value < 0:
            flag = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in key)
            raise Usage(f"--health{flag} cannot be negative")
    test = {"Test": ["CMD-SHELL", args.health_cmd]} if args.health_cmd else {}
    return {**test, **{key: value for key, value in times.items() if value}}


def _host_config(args: Args, binds: list[str], bindings: dict[str, Any]) -> dict[str, Any]:
    networks = [*args.network, *args.net]
    config = {
        "Binds": binds or None,
        "Mounts": mounts.mounts(args.mount) or None,
        "Tmpfs": mounts.tmpfs(args.tmpfs) or None,
        "NetworkMode": _network_name(networks[0]) if networks else "default",
        "PortBindings": bindings,
        "PublishAllPorts": args.publish_all,
        "AutoRemove": args.rm,
        "RestartPolicy": _restart(args),
        "LogConfig": {"Type": args.log_driver, "Config": environment.strict_pairs(args.log_opt, "log-opt")},
        "VolumeDriver": args.volume_driver,
        "VolumesFrom": args.volumes_from or None,
        "Links": args.link or None,
        "StorageOpt": environment.strict_pairs(args.storage_opt, "storage-opt") or None,
        "Runtime": args.runtime or None,
        "StorageDriver": args.storage_driver or None,  # sampan's own: Docker's API has no such key
        "Annotations": environment.pairs(args.annotation) or None,
        "Sysctls": environment.strict_pairs(args.sysctl, "sysctl") or None,
        "Init": args.init if "init" in args.given else None,
        **_resolving(args),
        **_rights(args),
        **_limits(args),
    }
    return {key: value for key, value in config.items() if value is not None}


def _resolving(args: Args) -> dict[str, Any]:
    hosts = [word.replace("=", ":", 1) for word in args.add_host]
    for word in hosts:
        if not all(word.partition(":")):
            raise Usage(f'invalid argument "{word}" for --add-host: write name:ip')
    return {
        "Dns": args.dns,
        "DnsOptions": [*args.dns_option, *args.dns_opt],
        "DnsSearch": args.dns_search,
        "ExtraHosts": hosts or None,
    }


_BARE = "systempaths=unconfined"
"""The client's own business: nothing under /proc and /sys is covered or made read-only."""


def _rights(args: Args) -> dict[str, Any]:
    bare: list[str] | None = [] if _BARE in args.security_opt else None
    return {
        "CapAdd": args.cap_add or None,
        "CapDrop": args.cap_drop or None,
        "Privileged": args.privileged,
        "SecurityOpt": [_security(word) for word in args.security_opt if word != _BARE] or None,
        "MaskedPaths": bare,
        "ReadonlyPaths": bare,
        "ReadonlyRootfs": args.read_only,
        "GroupAdd": args.group_add or None,
        "Devices": [mounts.device(word) for word in args.device] or None,
        "DeviceCgroupRules": args.device_cgroup_rule or None,
        "DeviceRequests": _gpus(args.gpus),
        "PidMode": args.pid,
        "IpcMode": args.ipc,
        "UTSMode": args.uts,
        "UsernsMode": args.userns,
        "CgroupnsMode": args.cgroupns,
    }


def _gpus(words: list[str]) -> list[dict[str, Any]] | None:
    if not words:
        return None
    from sampan.cli.container import gpus

    return gpus.requests(words)


def _security(word: str) -> str:
    """A seccomp profile is a file here and its text in the request."""
    key, _, path = (word if "=" in word else word.replace(":", "=", 1)).partition("=")
    if key != "seccomp" or path in ("unconfined", "builtin", ""):
        return word
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return f"seccomp={file.read()}"
    except OSError as why:
        raise Usage(f"opening seccomp profile ({path}) failed: {why.strerror}") from None
    except UnicodeDecodeError:
        raise Usage(f"the seccomp profile {path} is not a text in UTF-8") from None


def _limits(args: Args) -> dict[str, Any]:
    return {
        "Memory": args.memory,
        "KernelMemory": args.kernel_memory or None,
        "MemoryReservation": args.memory_reservation,
        "MemorySwap": args.memory_swap,
        "MemorySwappiness": args.memory_swappiness,
        "NanoCpus": args.cpus,
        "CpuShares": args.cpu_shares,
        "CpuPeriod": args.cpu_period,
        "CpuQuota": args.cpu_quota,
        "CpuRealtimePeriod": args.cpu_rt_period,
        "CpuRealtimeRuntime": args.cpu_rt_runtime,
        "CpusetCpus": args.cpuset_cpus,
        "CpusetMems": args.cpuset_mems,
        "PidsLimit": args.pids_limit or None,
        "OomKillDisable": args.oom_kill_disable or None,
        "OomScoreAdj": args.oom_score_adj,
        "ShmSize": args.shm_size or None,
        "CgroupParent": args.cgroup_parent,
        "BlkioWeight": args.blkio_weight,
        "BlkioWeightDevice": rates.weights(args.blkio_weight_device) or None,
        "BlkioDeviceReadBps": rates.rates(args.device_read_bps, size) or None,
        "BlkioDeviceWriteBps": rates.rates(args.device_write_bps, size) or None,
        "BlkioDeviceReadIOps": rates.rates(args.device_read_iops, integer) or None,
        "BlkioDeviceWriteIOps": rates.rates(args.device_write_iops, integer) or None,
        "Ulimits": [_ulimit(word) for word in args.ulimit] or None,
    }


def _ulimit(word: str) -> dict[str, Any]:
    name, _, numbers = word.partition("=")
    soft, colon, hard = numbers.partition(":")
    wrong = f'invalid argument "{word}" for --ulimit'
    if name not in ULIMITS:
        raise Usage(f"{wrong}: {name or 'nothing'} is none of {', '.join(sorted(ULIMITS))}")
    try:
        low = integer(soft)
        high = integer(hard) if colon else low
    except ValueError:
        raise Usage(f"{wrong}: write name=soft[:hard]") from None
    if low > high >= 0:
        raise Usage(f"{wrong}: the soft limit is above the hard one")
    return {"Name": name, "Soft": low, "Hard": high}


def _restart(args: Args) -> dict[str, Any]:
    policy = restart_policy(args.restart)
    if args.rm and policy["Name"] not in ("", "no"):
        raise Usage("conflicting options: cannot specify both --restart and --rm")
    return policy


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3`` as the API has it. Raises Usage."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise Usage("invalid restart policy format: no policy provided before colon")
    if count and not count.removeprefix("-").isdecimal():
        raise Usage("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _network_name(word: str) -> str:
    """``--network NAME`` or ``--network name=NAME,alias=…``."""
    return environment.pairs(word.split(",")).get("name", "") if "=" in word else word


def _networking(args: Args) -> dict[str, Any] | None:
    """The endpoints; only needed when something is asked of them or when there are several."""
    words = [*args.network, *args.net]
    if not words and any((args.ip, args.ip6, args.link_local_ip, args.mac_address, args.network_alias, args.net_alias)):
        words = ["default"]
    endpoints = {_network_name(word): _endpoint(word, args if at == 0 else None) for at, word in enumerate(words)}
    if len(endpoints) < 2 and not any(endpoints.values()):
        return None
    return {"EndpointsConfig": endpoints}


def _endpoint(word: str, args: Args | None) -> dict[str, Any]:
    """What is asked of one network: by the word itself and, for the first one, by the other flags (``args``)."""
    fields = [part.partition("=") for part in word.split(",")] if "=" in word else []
    known = {key: value for key, _, value in fields}
    aliases = [value for key, _, value in fields if key == "alias"]
    beside = [value for key, _, value in fields if key == "link-local-ip"]
    addresses: dict[str, Any] = {"IPv4Address": known.get("ip", ""), "IPv6Address": known.get("ip6", "")}
    mac = known.get("mac-address", "")
    if args is not None:
        aliases += [*args.network_alias, *args.net_alias]
        beside += args.link_local_ip
        addresses["IPv4Address"] = args.ip or addresses["IPv4Address"]
        addresses["IPv6Address"] = args.ip6 or addresses["IPv6Address"]
        mac = args.mac_address or mac
    addresses["LinkLocalIPs"] = beside
    endpoint = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Aliases": aliases,
        "MacAddress": mac,
        "DriverOpts": environment.strict_pairs(
            [value for key, _, value in fields if key == "driver-opt"], "driver-opt"
        ),
        "GwPriority": _priority(known.get("gw-priority", "0")),
    }
    return {key: value for key, value in endpoint.items() if value}


def _priority(text: str) -> int:
    try:
        return integer(text)
    except ValueError:
        raise Usage(f"invalid gw-priority: {text} is not a whole number") from None

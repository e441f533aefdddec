"""``version``, ``info``, ``events`` and ``system df``."""

from __future__ import annotations

import sys

from sampan.cli.client import API_VERSION, messages
from sampan.cli.failures import CannotConnect
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters
from sampan.cli.output import binary_size, size, tell
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FORMAT = Flag("format", "json, or a Go template", str, short="f", default="")


def _formatted(form: str, data: Any) -> bool:
    """Prints ``data`` by ``--format``; false when there is none and the command has to do it."""
    if not form or form == "table":
        return False
    if form == "json":
        from sampan.cli.wire import dumps

        print(dumps(data))
    else:
        from sampan.cli.template import Template

        print(Template(form.replace("\\t", "\t").replace("\\n", "\n")).execute(data))
    return True


@command("", FORMAT, examples=("sampan version", "sampan version -f '{{.Server.Version}}'"))
def version(args: Args) -> None:
    import platform

    from sampan import __version__

    client = open_client(args)
    ours = {
        "Version": __version__,
        "ApiVersion": client.version,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": platform.python_version(),
        "Os": sys.platform,
        "Arch": platform.machine(),
    }
    server, failure = None, None
    try:
        server = client.get("/version")
    except CannotConnect as why:
        failure = why
    if not _formatted(args.format, {"Client": ours, "Server": server}):
        print("Client:")
        _facts(
            (
                ("Version", ours["Version"]),
                ("API version", client.version),
                ("Python version", ours["PythonVersion"]),
                ("OS/Arch", f"{ours['Os']}/{ours['Arch']}"),
            )
        )
        if server is not None:
            _server(server)
    if failure is not None:
        raise failure


def _server(server: dict[str, Any]) -> None:
    print(f"\nServer: {(server.get('Platform') or {}).get('Name') or 'sampan'}".rstrip())
    for part in server.get("Components") or [{"Name": "Engine", "Version": server.get("Version"), "Details": server}]:
        details = part.get("Details") or {}
        least = details.get("MinAPIVersion")
        api = details.get("ApiVersion") and f"{details['ApiVersion']}{f' (at least {least})' if least else ''}"
        print(f" {part['Name']}:")
        _facts(
            (
                ("Version", part.get("Version")),
                ("API version", api),
                ("Python version", details.get("PythonVersion")),
                ("Kernel", details.get("KernelVersion")),
                ("OS/Arch", f"{details['Os']}/{details.get('Arch')}" if details.get("Os") else None),
            ),
            indent=2,
        )


def _facts(facts: Iterable[tuple[str, object]], indent: int = 1) -> None:
    for name, value in facts:
        if value not in (None, ""):
            print(f"{' ' * indent}{name + ':':<19}{value}")


@command("", FORMAT, examples=("sampan info", "sampan info -f '{{.Driver}}'"))
def info(args: Args) -> None:
    client = open_client(args)
    found = client.get("/info")
    if _formatted(args.format, found):
        return
    print("Server:")
    _facts(
        (
            ("Containers", found.get("Containers")),
            ("  Running", found.get("ContainersRunning")),
            ("  Paused", found.get("ContainersPaused")),
            ("  Stopped", found.get("ContainersStopped")),
            ("Images", found.get("Images")),
            ("Server Version", found.get("ServerVersion")),
            ("Storage Driver", found.get("Driver")),
            *((f"  {name}", value) for name, value in found.get("DriverStatus") or []),
            ("Logging Driver", found.get("LoggingDriver")),
            ("Cgroup Driver", found.get("CgroupDriver")),
            ("Cgroup Version", found.get("CgroupVersion")),
            ("Networks", " ".join((found.get("Plugins") or {}).get("Network") or [])),
            ("Runtimes", " ".join(sorted(found.get("Runtimes") or {}))),
            ("Default Runtime", found.get("DefaultRuntime")),
            ("Security Options", " ".join(found.get("SecurityOptions") or [])),
            ("Kernel Version", found.get("KernelVersion")),
            ("Operating System", found.get("OperatingSystem")),
            ("Architecture", found.get("Architecture")),
            ("CPUs", found.get("NCPU")),
            ("Total Memory", binary_size(found.get("MemTotal") or 0)),
            ("Name", found.get("Name")),
            ("ID", found.get("ID")),
            ("Data Root", found.get("DockerRootDir")),
        )
    )
    for warning in found.get("Warnings") or []:
        tell(warning)


@command(
    "",
    Flag("filter", "Only events that fit, e.g. type=container, event=die", str, short="f", many=True),
    Flag("format", "json, or a Go template such as '{{.Action}}'", str, default=""),
    Flag("since", "From this time on (10m, 2024-05-01T10:00:00Z)", str, default=""),
    Flag("until", "Up to this time, then end", str, default=""),
    examples=("sampan events --filter type=container", "sampan events --since 10m --until 0s"),
)
def events(args: Args) -> None:
    from sampan.cli.moments import timestamp
    from sampan.cli.template import Template

    query = {
        "since": timestamp(args.since) or None,
        "until": timestamp(args.until) or None,
        "filters": filters(args.filter),
    }
    template = Template(args.format) if args.format not in ("", "json") else None
    for event in messages(open_client(args).request("GET", "/events", query)):
        if template is not None:
            print(template.execute(event), flush=True)
        elif args.format == "json":
            from sampan.cli.wire import dumps

            print(dumps(event), flush=True)
        else:
            print(_event(event), flush=True)


def _event(event: dict[str, Any]) -> str:
    import time

    nanoseconds = event.get("timeNano") or event.get("time", 0) * 1_000_000_000
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    zone = time.strftime("%z", time.localtime(seconds))
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(seconds))}.{rest:09d}{zone[:3]}:{zone[3:]}"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    words = [at, event.get("Type", ""), event.get("Action", ""), actor.get("ID", "")]
    return " ".join(words) + (f" ({attributes})" if attributes else "")


@command(
    "",
    Flag("format", "table, json, or a Go template", str, default=""),
    Flag("verbose", "Show each image, container and volume", short="v"),
    examples=("sampan system df", "sampan system df -v"),
)
def df(args: Args) -> None:
    from sampan.cli.listing import show

    found = open_client(args).get("/system/df")
    if args.verbose and not args.format:
        from sampan.cli.usage import details

        details(found)
        return
    columns = {
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    }
    show(_usage(found), columns, args.format)


def _usage(found: dict[str, Any]) -> list[dict[str, Any]]:
    images, containers = found.get("Images") or [], found.get("Containers") or []
    used = {container.get("ImageID") for container in containers}
    layers = found.get("LayersSize") or 0
    idle = sum(image.get("Size") or 0 for image in images if image["Id"] not in used)
    running = [one for one in containers if one.get("State") in ("running", "paused", "restarting")]
    stopped = sum(one.get("SizeRw") or 0 for one in containers if one not in running)
    volumes = found.get("Volumes") or []
    sizes = {one["Name"]: (one.get("UsageData") or {}).get("Size") or 0 for one in volumes}
    loose = {one["Name"] for one in volumes if not (one.get("UsageData") or {}).get("RefCount")}
    return [
        _use("Images", len(images), sum(1 for image in images if image["Id"] in used), layers, min(idle, layers)),
        _use("Containers", len(containers), len(running), sum(one.get("SizeRw") or 0 for one in containers), stopped),
        _use(
            "Local Volumes",
            len(volumes),
            len(volumes) - len(loose),
            sum(sizes.values()),
            sum(sizes[name] for name in loose),
        ),
    ]


def _use(kind: str, count: int, active: int, taken: int, idle: int) -> dict[str, Any]:
    share = f" ({idle * 100 // taken}%)" if taken else ""
    return {
        "Type": kind,
        "TotalCount": str(count),
        "Active": str(active),
        "Size": size(taken),
        "Reclaimable": f"{size(idle)}{share}",
    }

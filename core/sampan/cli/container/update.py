"""``sampan update``: other limits and published ports for containers that exist."""

from __future__ import annotations

from sampan.cli.container import ports
from sampan.cli.container.body import restart_policy
from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import tell
from sampan.cli.quantities import cpus, integer, size
from sampan.cli.session import for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = {
    "BlkioWeight": Flag("blkio-weight", "Weight of its block I/O, 10 to 1000", integer, default=0),
    "CpuPeriod": Flag("cpu-period", "Period of the processor quota, in microseconds", integer, default=0),
    "CpuQuota": Flag("cpu-quota", "Processor time per period, in microseconds", integer, default=0),
    "CpuRealtimePeriod": Flag("cpu-rt-period", "Period of the real-time quota, in microseconds", integer, default=0),
    "CpuRealtimeRuntime": Flag("cpu-rt-runtime", "Real-time per period, in microseconds", integer, default=0),
    "CpuShares": Flag("cpu-shares", "Weight against other containers", integer, short="c", default=0),
    "NanoCpus": Flag("cpus", "Processors to use at most, e.g. 1.5", cpus, default=0),
    "CpusetCpus": Flag("cpuset-cpus", "Processors to run on, e.g. 0-2 or 0,3", str, default=""),
    "CpusetMems": Flag("cpuset-mems", "Memory nodes to use", str, default=""),
    "Memory": Flag("memory", "Memory to use at most, e.g. 256m", size, short="m", default=0),
    "MemoryReservation": Flag("memory-reservation", "Memory that is kept for it under pressure", size, default=0),
    "MemorySwap": Flag("memory-swap", "Memory and swap to use at most (-1: any)", size, default=0),
    "PidsLimit": Flag("pids-limit", "Processes to have at most (-1: any)", integer),
}


@command(
    "CONTAINER [CONTAINER...]",
    *FLAGS.values(),
    Flag("publish-add", "Publish one more port, written as for run -p", str, many=True),
    Flag("publish-rm", "Publish a port no longer: [address:][host port:]port[/protocol]", str, many=True),
    Flag("restart", "When to start it again: no, always, on-failure[:n], unless-stopped", str, default=""),
    least=1,
    most=-1,
    examples=(
        "sampan update --memory 512m --memory-swap 1g db",
        "sampan update --cpus 1.5 --restart always web",
        "sampan update --publish-add 8080:80 --publish-rm 8000:80 web",
    ),
)
def update(args: Args) -> int:
    if not args.given:
        raise Usage("you must provide one or more flags when using this command", code=1)
    body: dict[str, Any] = {key: value for key, flag in FLAGS.items() if (value := getattr(args, flag.key))}
    if args.pids_limit is not None:
        body["PidsLimit"] = args.pids_limit
    if args.restart:
        body["RestartPolicy"] = restart_policy(args.restart)
    for key, words in (("PortBindingsAdd", args.publish_add), ("PortBindingsRemove", args.publish_rm)):
        if words:
            body[key] = ports.published(words)[1]
    client = open_client(args)

    def one(name: str) -> None:
        for warning in client.post(f"/containers/{name}/update", body=body).get("Warnings") or ():
            tell(f"WARNING: {warning}")

    return for_each(args.rest, one)

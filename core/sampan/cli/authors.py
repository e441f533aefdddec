"""``sampan drivers new`` and ``sampan drivers test``: for those who write drivers. Neither needs a daemon."""

from __future__ import annotations

import os
import sys

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAMILIES = ("storage", "network", "runtime")


def _family(text: str) -> str:
    if text not in FAMILIES:
        raise ValueError(f"the families are {', '.join(FAMILIES)}")
    return text


@command(
    "FAMILY NAME",
    Flag("directory", "Where to write it (a directory called as the package unless told otherwise)", str, default=""),
    least=2,
    most=2,
    examples=("sampan drivers new storage btrfs", "sampan drivers new network egress --directory work/egress"),
)
def new(args: Args) -> None:
    from pathlib import Path

    from sampan.errors import SampanError
    from sampan.testing.projects import write

    family, name = args.rest
    directory = Path(args.directory or f"sampan-{family}-{name}")
    try:
        files = write(family, name, directory)
    except SampanError as error:
        raise Failure(error.message) from None
    print("\n".join(map(str, files)))
    print(f"\nTry it:\n  cd {directory}\n  pip install -e '.[testing]'\n  pytest")


@command(
    "DRIVER [-- PYTEST-OPTIONS...]",
    Flag("family", "Where drivers of several families are called so: storage, network or runtime", _family, default=""),
    Flag("option", "One of the driver's options, as under options.DRIVER in config.yaml (key=value)", str, many=True),
    Flag(
        "network-option",
        "As with network create -o; {number} is the network's, {directory} the test's own (key=value)",
        str,
        many=True,
    ),
    least=1,
    most=-1,
    examples=(
        "sampan drivers test overlayfs",
        "sampan drivers test mine --option size=1G -- -k crash -x",
        """sampan drivers test cni --network-option 'config={"type": "ptp", "name": "kit{number}", …}'""",
    ),
)
def test(args: Args) -> None:
    """The kit on an installed driver; the exit status is pytest's."""
    import json
    from importlib.util import find_spec

    name, *words = args.rest
    family = _find(name, args.family)
    if find_spec("pytest") is None:
        raise Failure("the conformance kit needs pytest, which is not installed: pip install 'sampan[testing]'")
    spec = find_spec("sampan.testing")
    if spec is None or not spec.submodule_search_locations:
        raise Failure("this sampan was installed without its conformance kit, the package sampan.testing")
    suite = os.path.join(next(iter(spec.submodule_search_locations)), "installed.py")  # noqa: PTH118
    networks = dict(map(_pair, args.network_option))
    if networks and family != "network":
        raise Failure(f"{name!r} is a {family} driver: --network-option is for network drivers")
    wanted = {"family": family, "name": name, "options": dict(map(_option, args.option)), "networks": networks}
    # Nothing of a project that somebody stands in: neither its settings nor its conftest are about this driver.
    own = ["-c", os.devnull, "--rootdir", os.path.dirname(suite), "--import-mode=importlib", "-p", "no:cacheprovider"]  # noqa: PTH120
    command_line = [sys.executable, "-m", "pytest", "-q", "-rs", "--tb=short", *own, *words, suite]
    sys.stdout.flush()
    os.execve(sys.executable, command_line, os.environ | {"SAMPAN_KIT": json.dumps(wanted)})  # noqa: S606


def _find(name: str, family: str) -> str:
    from importlib.metadata import entry_points

    found = {each: list(entry_points(group=f"sampan.{each}", name=name)) for each in FAMILIES}
    having = [each for each in FAMILIES if found[each] and family in ("", each)]
    if not having:
        there = sorted({entry.name for each in FAMILIES for entry in entry_points(group=f"sampan.{each}")})
        raise Failure(f"no {family + ' ' if family else ''}driver is called {name!r}; found here: {', '.join(there)}")
    if len(having) > 1:
        raise Failure(f"there are a {' and a '.join(having)} driver called {name!r}: say which with --family")
    if len(found[having[0]]) > 1:
        packages = " and ".join(sorted(entry.dist.name if entry.dist else "?" for entry in found[having[0]]))
        raise Failure(f"the {having[0]} driver {name!r} is claimed by {packages}: uninstall one")
    return having[0]


def _option(text: str) -> tuple[str, Any]:
    import yaml

    key, value = _pair(text)
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise Failure(f"invalid value of option {key!r}: {str(error).splitlines()[0]}") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"invalid option {text!r}: key=value is expected")
    return key, value

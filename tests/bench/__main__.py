"""How fast, side by side: ``make bench``, or ``python tests/bench --help``.

Everything that is compared takes turns in one run, on one machine, so that noise falls on all alike: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the harness of the tests

import api_calls
import bare_runtimes
import cli_runs
import crowds
import driven_runtimes
import idle_memory
import image_moves
import loading_drivers
import networks
from machine import describe
from reporting import Part, as_json, show
from scratch import Scratch

PARTS: dict[str, Callable[[Scratch, int], Part]] = {
    "a": cli_runs.measure,
    "b": api_calls.measure,
    "c": bare_runtimes.measure,
    "d": idle_memory.measure,
    "e": driven_runtimes.measure,
    "f": crowds.measure,
    "g": networks.throughput,
    "h": networks.times,
    "i": image_moves.measure,
    "j": loading_drivers.measure,
}
NAMES = {"networks": ["g", "h"], "images": ["i"]}
"""Parts that belong together."""


def main() -> int:
    options = _options()
    if os.geteuid() != 0:
        print("the bench starts engines and containers: run it as root", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    parts: dict[str, Part] = {}
    with ExitStack() as stack:
        scratch = stack.enter_context(Scratch(quiet=options.quiet))
        print(describe(scratch), flush=True)
        try:
            for letter in [each for name in options.names for each in NAMES[name]] or options.only:
                parts[letter] = PARTS[letter](scratch, options.runs)
                print("\n" + show(letter, parts[letter]), flush=True)
        except KeyboardInterrupt:
            print("\ninterrupted: cleaning up", file=sys.stderr)
            return 130
        except (AssertionError, RuntimeError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # what was started must not be left behind
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps(as_json(parts), indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        type=lambda text: [letter for letter in PARTS if letter in text.split(",")] or parser.error("only what?"),
        default=list(PARTS),
        metavar="a,b,c,d,e,f,g,h,i,j",
        help="a: docker run; b: API calls; c: the runtime alone; d: memory; e: runtimes that run a program; f: crowds; "
        "g: throughput of networks; h: what networks take; i: images; j: loading all drivers",
    )
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="only these: networks is g and h, images is i")
    parser.add_argument("-n", "--runs", type=int, default=11, help="runs of each measurement (default: 11)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure to FILE")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not tell what is being done meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

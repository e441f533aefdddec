"""What programs of this host read beside their libraries: modules of interpreters, certificates, helpers, time zones.

Nobody can tell from a program's file what it opens later. Interpreters are asked where their standard library is; for
a few others it is known.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

CERTIFICATES = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf", "/usr/lib/ssl/certs"),
    *("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/cert.pem", "/etc/ssl/cert.pem", "/usr/lib/ssl/cert.pem"),
)
SERVICES = ("/etc/services", "/etc/protocols")
LOCALES = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")
ZONES = "/usr/share/zoneinfo"
ZONE_NAMES = ("UTC", "Etc/UTC")
TLS_LIBRARIES = ("libssl.so", "libgnutls", "libnss3.so", "libmbedtls")

_CERTIFICATES = "/etc/ssl/certs"
_PYTHON = re.compile(r"python[23](\.\d+)?[a-z]*|python|pypy3?(\.\d+)?")
_PERL = re.compile(r"perl(5[.\d]*)?")
_ASK_PYTHON = """
import json, os, sys, sysconfig
trees = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.realpath(sys.executable)]
print(json.dumps([sys.version_info[:2], [tree for tree in trees if tree]]))
"""
_ASK_PERL = 'use Config; print join("\\n", @Config{qw(privlibexp archlibexp)}, grep { m(perl-base) } @INC)'
_LEFT_OUT = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages"}
)
_PATIENCE = 20.0  # seconds that an interpreter may take to tell


def trees(program: str, real: str) -> list[str]:
    """Directories (with what is in them, see :func:`below`) and files that ``program``, whose file is ``real``, reads.
    What cannot be found out is left out."""
    if is_python(real):
        return _python(program)
    if _PERL.fullmatch(posixpath.basename(real)):
        return _perl(program)
    if posixpath.basename(program) == "git":
        return [*filter(None, _lines(program, "--exec-path")), "/usr/share/git-core/templates"]
    return []


def is_python(real: str) -> bool:
    return bool(_PYTHON.fullmatch(posixpath.basename(real)))


def below(tree: str) -> Iterator[str]:
    """A directory's files, links and subdirectories, sorted; without what is only for tests, what an interpreter
    writes by itself, and packages that are no part of a standard library."""
    if not Path(tree).is_dir():
        yield tree
        return
    if posixpath.realpath(tree) == _CERTIFICATES:  # links to what is in one file already
        yield tree
        return
    packages = posixpath.basename(tree) in ("site-packages", "dist-packages")
    unwanted = {"__pycache__"} if packages else _LEFT_OUT
    for place, directories, files in os.walk(tree):
        directories[:] = sorted(each for each in directories if each not in unwanted)
        yield place
        for name in sorted([*files, *(each for each in directories if Path(place, each).is_symlink())]):
            path = f"{place}/{name}"
            if Path(path).is_file() or Path(path).is_symlink():
                yield path


def zones(everything: bool) -> list[str]:
    """The time zone of this host, and UTC; ``everything``: all that there are."""
    if everything:
        return [ZONES]
    return ["/etc/localtime", *(f"{ZONES}/{name}" for name in ZONE_NAMES)]


def speaks_tls(libraries: Iterable[str]) -> bool:
    return any(posixpath.basename(each).startswith(TLS_LIBRARIES) for each in libraries)


def _python(program: str) -> list[str]:
    """Its standard library; of a virtual environment also what is installed in it. It is asked without ``site``, which
    would run what packages left to be run."""
    try:
        (major, minor), found = json.loads("\n".join(_lines(program, "-I", "-S", "-c", _ASK_PYTHON)))
    except (ValueError, TypeError):
        return []
    home = posixpath.dirname(posixpath.dirname(program))
    if Path(home, "pyvenv.cfg").is_file():
        found += [f"{home}/pyvenv.cfg", f"{home}/lib/python{major}.{minor}/site-packages"]
    return [posixpath.normpath(each) for each in found if str(each).startswith("/")]


def _perl(program: str) -> list[str]:
    return [each for each in dict.fromkeys(_lines(program, "-e", _ASK_PERL)) if each.startswith("/")]


def _lines(program: str, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=True, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    return done.stdout.split("\n")

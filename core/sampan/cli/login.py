"""``login`` and ``logout``: what docker remembers we know, and the other way round."""

from __future__ import annotations

import os
import sys

from sampan.cli import credentials
from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import tell
from sampan.cli.session import open_client


@command(
    "[SERVER]",
    Flag("password", "The password; better through --password-stdin", str, short="p", default=""),
    Flag("password-stdin", "Take the password from stdin"),
    Flag("username", "The name", str, short="u", default=""),
    most=1,
    examples=("sampan login registry.example:5000", "pass show hub | sampan login -u me --password-stdin"),
)
def login(args: Args) -> None:
    registry = credentials.called(args.rest[0] if args.rest else "")
    name, password = _asked(args, registry)
    body = {"username": name, "password": password, "serveraddress": registry}
    told = open_client(args).post("/auth", None, body)
    token = str(told.get("IdentityToken") or "")
    where = credentials.keep(registry, name, token or password, token=bool(token))
    if where == credentials.path():
        tell(f"The password is kept unencrypted in {where}: a credential helper (credsStore) keeps it better")
    print(told.get("Status") or "Login Succeeded")


@command("[SERVER]", most=1, examples=("sampan logout registry.example:5000",))
def logout(args: Args) -> None:
    registry = credentials.called(args.rest[0] if args.rest else "")
    if not credentials.forget(registry):
        print(f"Not logged in to {registry}")
        return
    print(f"Removing login credentials for {registry}")


def _asked(args: Args, registry: str) -> tuple[str, str]:
    """Name and password: from the flags, else from stdin, else from the person at the terminal."""
    name, password = args.username, args.password
    if args.password_stdin:
        if password:
            raise Failure("--password and --password-stdin are mutually exclusive")
        if not name:
            raise Failure("Must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
    known = credentials.find(registry) if not name else {}
    if not password and known.get("password"):
        tell("Authenticating with existing credentials...")
        return known["username"], known["password"]
    if not (name and password) and not os.isatty(0):
        raise Failure("Cannot perform an interactive login from a non TTY device: use --username and --password-stdin")
    name = name or input("Username: ").strip()
    if not password:
        from getpass import getpass

        password = getpass("Password: ")
    if not name or not password:
        raise Failure("a name and a password are required")
    return name, password

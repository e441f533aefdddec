"""The table of commands: which module and function serve which words, and a line about each for ``--help``.

Only the module of the command that was asked for is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.flags import Command

    Entry = tuple[str, str, str]
    """module below sampan.cli, name of its Command, summary."""

CONTAINER: dict[str, Entry] = {
    "attach": ("container.run", "attach", "Join the terminal to a running container"),
    "commit": ("container.files", "commit", "Make an image of a container as it is now"),
    "cp": ("container.copying", "cp", "Copy files between a container and this host"),
    "create": ("container.run", "create", "Make a container and do not start it"),
    "diff": ("container.files", "diff", "Show what a container changed in its file system"),
    "exec": ("container.execute", "execute", "Run one more command in a running container"),
    "export": ("container.files", "export", "Write a container's file system as a tar archive"),
    "inspect": ("container.inspect", "inspect", "Show everything about containers, as JSON"),
    "kill": ("container.life", "kill", "Send a signal to containers (KILL unless told otherwise)"),
    "logs": ("container.logs", "logs", "Show what a container wrote"),
    "ls": ("container.ls", "ls", "List containers"),
    "pause": ("container.life", "pause", "Freeze all processes of containers"),
    "port": ("container.ls", "port", "Show the published ports of a container"),
    "prune": ("container.life", "prune", "Remove all stopped containers"),
    "rename": ("container.life", "rename", "Give a container another name"),
    "restart": ("container.life", "restart", "Stop containers and start them again"),
    "rm": ("container.life", "rm", "Remove containers"),
    "run": ("container.run", "run", "Make a container from an image and start it"),
    "start": ("container.run", "start", "Start containers that exist"),
    "stats": ("container.stats", "stats", "Show what containers use, again every second"),
    "stop": ("container.life", "stop", "Stop containers, gently first"),
    "top": ("container.ls", "top", "Show the processes of a container"),
    "unpause": ("container.life", "unpause", "Thaw containers that were frozen"),
    "update": ("container.update", "update", "Change limits and published ports of containers"),
    "wait": ("container.life", "wait", "Wait until containers end and print their exit status"),
}

IMAGE: dict[str, Entry] = {
    "from-host": ("image.make", "from_host", "Make an image of this host's own programs"),
    "history": ("image.look", "history", "Show the steps that made an image"),
    "import": ("image.make", "import_", "Make an image of a tar archive of files"),
    "inspect": ("image.look", "inspect", "Show everything about images, as JSON"),
    "load": ("image.make", "load", "Load images from an archive of docker save"),
    "ls": ("image.look", "ls", "List images"),
    "prune": ("prune", "image", "Remove images that nothing uses"),
    "pull": ("image.pull", "pull_command", "Bring an image from a registry"),
    "push": ("image.pull", "push", "Bring an image to a registry"),
    "rm": ("image.keep", "rm", "Remove images"),
    "save": ("image.keep", "save", "Write images to an archive"),
    "tag": ("image.keep", "tag", "Give an image one more name"),
    "verify": ("image.keep", "verify", "Read all that is kept of images, and say what is damaged"),
}

NETWORK: dict[str, Entry] = {
    "connect": ("network", "connect", "Connect a container to a network"),
    "create": ("network", "create", "Make a network"),
    "disconnect": ("network", "disconnect", "Disconnect a container from a network"),
    "graph": ("graph.command", "graph", "Draw who is on which network, with addresses and ports"),
    "inspect": ("network", "inspect", "Show everything about networks, as JSON"),
    "ls": ("network", "ls", "List networks"),
    "prune": ("network", "prune", "Remove all networks that nothing uses"),
    "rm": ("network", "rm", "Remove networks"),
}

SNAPSHOT: dict[str, Entry] = {
    "create": ("snapshot", "create", "Keep a container's files as they are now, by a name"),
    "diff": ("snapshot", "diff", "Show what changed in a container since a snapshot"),
    "ls": ("snapshot", "ls", "List the snapshots of a container"),
    "restore": ("snapshot", "restore", "Make a stopped container's files what they were"),
    "rm": ("snapshot", "rm", "Remove snapshots"),
    "run": ("snapshot", "run", "Start one more such container, with the files of a snapshot"),
}

SYSTEM: dict[str, Entry] = {
    "df": ("system", "df", "Show how much room images and containers take"),
    "events": ("system", "events", "Show what happens, as it happens"),
    "info": ("system", "info", "Show what this engine is and has"),
    "prune": ("prune", "system", "Remove all that nothing uses"),
}

VOLUME: dict[str, Entry] = {
    "create": ("volume", "create", "Make a volume"),
    "inspect": ("volume", "inspect", "Show everything about volumes, as JSON"),
    "ls": ("volume", "ls", "List volumes"),
    "prune": ("volume", "prune", "Remove all volumes that nothing uses"),
    "rm": ("volume", "rm", "Remove volumes"),
}

GROUPS: dict[str, tuple[dict[str, Entry], str]] = {
    "container": (CONTAINER, "Work with containers"),
    "image": (IMAGE, "Work with images"),
    "network": (NETWORK, "Work with networks"),
    "snapshot": (SNAPSHOT, "Work with points in a container's files that one can go back to"),
    "system": (SYSTEM, "Work with the engine"),
    "volume": (VOLUME, "Work with volumes"),
}

ALIASES = {
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "network": {"list": "ls", "remove": "rm"},
    "snapshot": {"list": "ls", "remove": "rm"},
    "volume": {"list": "ls", "remove": "rm"},
}

COMMANDS: dict[str, Entry] = {
    **{name: entry for name, entry in CONTAINER.items() if name not in ("ls", "inspect", "prune")},
    "ps": CONTAINER["ls"],
    "compare": ("compare.command", "compare", "Run a container under several drivers, side by side"),
    "daemon": ("daemon", "daemon", "Run the engine: all that the other commands talk to"),
    "doctor": ("doctor", "doctor", "Find what is wrong with this host and engine"),
    "drivers": ("drivers", "drivers", "List the storage, network and runtime drivers"),
    "events": SYSTEM["events"],
    "explain": ("explain", "explain", "Show how a container was made, step by step, with times"),
    "history": IMAGE["history"],
    "images": IMAGE["ls"],
    "import": IMAGE["import"],
    "info": SYSTEM["info"],
    "inspect": ("container.inspect", "inspect_any", "Show everything about any of them, as JSON"),
    "load": IMAGE["load"],
    "login": ("login", "login", "Log in to a registry"),
    "logout": ("login", "logout", "Log out of a registry"),
    "pull": IMAGE["pull"],
    "push": IMAGE["push"],
    "rmi": IMAGE["rm"],
    "save": IMAGE["save"],
    "search": ("image.search", "search", "Look for images in a registry"),
    "tag": IMAGE["tag"],
    "version": ("system", "version", "Show the versions of client and engine"),
}

BELOW: dict[str, dict[str, Entry]] = {
    "doctor": {
        "port": ("doctor", "port", "Find out why a container's port is not reachable"),
    },
    "drivers": {
        "new": ("authors", "new", "Write a project for a driver of one's own"),
        "test": ("authors", "test", "Run the conformance kit on an installed driver"),
    },
}
"""Commands of two words whose first is a command by itself."""

COMMON = ("run", "exec", "ps", "logs", "stop", "rm", "images", "inspect", "version", "info")
"""What a newcomer needs first; help shows these apart."""


def load(entry: Entry) -> Command:
    from importlib import import_module

    found: Command = getattr(import_module(f"sampan.cli.{entry[0]}"), entry[1])
    return found

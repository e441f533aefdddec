"""``python crashing.py FUSE daemon …``: the command line of sampan with a fuse in it and in its launcher."""

import sys
from pathlib import Path

import fuse

_PATCH = "import sys; sys.path.append({here!r}); import fuse; sys.path.pop(); fuse.install({fuse!r}, fuse.LAUNCHER); "


def main() -> int:
    path = sys.argv.pop(1)
    fuse.install(path, fuse.DAEMON)
    from sampan.containers import monitors

    here = str(Path(__file__).parent)
    patch = _PATCH.format(here=here, fuse=path)
    monitors._START = patch.replace("{", "{{").replace("}", "}}") + monitors._START
    from sampan.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())

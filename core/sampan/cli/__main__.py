"""``python -m sampan.cli``: the same as ``sampan``."""

from __future__ import annotations

import sys

from sampan.cli import main

sys.exit(main())

"""Real engines for tests: daemons in network namespaces of their own, and proof that nothing is left behind."""

from harness.engine import Engine, Result
from harness.leftovers import Leftovers, survey

__all__ = ["Engine", "Leftovers", "Result", "survey"]

"""What ``sampan doctor`` finds: is this host all right for an engine, and is a container's port reachable?

``machine.py`` looks at the host, ``made.py`` at what the engine has made on it, ``walk.py`` goes the way of a packet
from the program that listens in a container (``inside.py``) to the host's port (``outside.py``). Everything here looks,
and nothing is changed.
"""

from sampan.diagnosis.service import Diagnosis

__all__ = ["Diagnosis"]

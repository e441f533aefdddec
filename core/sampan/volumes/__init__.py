"""Volumes: directories that outlive containers.

``service.py`` is what the engine calls: records, and who uses which volume. ``request.py`` reads what a client asks
of a new one; ``places.py`` knows where they lie on disk; ``device.py`` mounts those that have a device;
``mounting.py`` counts for whom; ``filling.py`` fills a new one with what an image has at its place.
"""

from sampan.volumes.service import Volumes

__all__ = ["Volumes"]

"""The three contracts and the hooks: all that the author of a driver imports.

A driver is a class behind one of the contracts :class:`~sampan.drivers.storage.StorageDriver`,
:class:`~sampan.drivers.network.NetworkDriver` and :class:`~sampan.drivers.runtime.RuntimeDriver`, announced by a
package under the entry-point group ``sampan.storage``, ``sampan.network`` or ``sampan.runtime`` and picked by name.
"""

from sampan.drivers.hooks import hookimpl
from sampan.drivers.network import NetworkDriver
from sampan.drivers.runtime import RuntimeDriver
from sampan.drivers.storage import StorageDriver

__all__ = ["NetworkDriver", "RuntimeDriver", "StorageDriver", "hookimpl"]

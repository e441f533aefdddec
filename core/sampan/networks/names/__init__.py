"""Names of containers: a name server for each container on networks that have names, at 127.0.0.11 as Docker's.

``service.py`` is what :class:`sampan.networks.Networks` calls. ``directory.py`` knows who is called what, and who sees
whom; ``answers.py`` answers from it, ``upstream.py`` asks others. ``desk.py`` is one container's server, with its
sockets by ``sandboxed.py`` and its clients over TCP in ``conversation.py``; all desks are served by one thread
(``loop.py``). ``messages.py`` is DNS's format, ``resolvconf.py`` that of ``/etc/resolv.conf``. Why it is so:
``docs/adr/0008-names-in-the-daemon.md``.
"""

from sampan.networks.names.service import Names, Way

__all__ = ["Names", "Way"]

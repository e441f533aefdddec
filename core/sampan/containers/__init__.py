"""Containers: their records and their life.

``service.py`` is what the engine and the API talk to; ``registry.py`` holds the records, ``parts.py`` what all who
work on them share, and ``monitors.py`` is the way to the processes. The rooms: ``requests`` (what was asked for),
``bundle`` (what the runtime is told), ``life`` (from creation to the end), ``files``, ``streams`` (attach and logs),
``health`` and ``snapshots``. Execs, links, networks and updates of a container that exists are modules beside these.
"""

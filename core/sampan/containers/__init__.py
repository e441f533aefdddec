"""Containers: their records and their life.

``service.py`` is what the engine and the API talk to. A create request is read (``request.py``), checked
(``checks.py``, ``limits.py``, ``mounts.py``…) and merged with its image (``config.py``) by ``creation.py``.
``starting.py`` brings a container to life: ``spec.py`` writes its OCI configuration, ``monitors.py`` has it started.
``stopping.py`` sends signals; ``ending.py`` is what follows an exit. ``transitions.py`` says what may follow what.
"""

"""Registries: pull, push, search and what else the OCI distribution specification has.

All of it runs in an event loop of its own, in a thread that is started when a registry is first talked to, and only
then is ``aiohttp`` imported. :mod:`.service` is the way in; the modules that only it imports may import ``aiohttp`` at
their top.
"""

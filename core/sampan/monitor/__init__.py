"""The processes between the daemon and the containers: one launcher, and one monitor per container or exec.

Only the standard library's smallest modules, ``sampan.linux`` and ``sampan.errors`` may be imported here: what the
launcher has imported, every fork pays for in time and every idle container in memory.
"""

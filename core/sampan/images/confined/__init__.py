"""A process of its own, with next to no rights, for whatever takes apart what others have packed.

Decompressors are C code and tar streams are written by anybody, so neither is let near the daemon: whoever takes
over such a process finds no network, no file but the layer that is being filled, and nothing to become more with.
"""

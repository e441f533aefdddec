"""From a container's complete configuration to what is in its OCI bundle, as Docker would have it.

``spec.py`` writes ``config.json`` with the help of all others; ``mounts.py`` also makes ready what is mounted.
"""

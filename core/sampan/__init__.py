"""sampan: a container engine whose storage, network and runtime are pluggable drivers."""

__version__ = "0.1.0"

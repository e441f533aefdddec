"""Snapshots: named points in a container's file system that one can go back to, or begin another container from."""

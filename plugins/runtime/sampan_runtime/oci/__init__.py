"""Containers made by an OCI runtime's binary, such as crun and runc. Keep this file empty: monitors import it."""

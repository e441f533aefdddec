"""Containers made with the kernel's own calls, by Python alone. Keep this file empty: the launcher imports it."""

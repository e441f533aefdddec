"""The ``lxc`` runtime driver."""

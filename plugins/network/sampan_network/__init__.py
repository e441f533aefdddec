"""The built-in network drivers: ``bridge`` and ``internal`` (links and a firewall), ``host`` and ``none`` (neither).

``bridge.py`` holds the driver, ``settings.py`` the options that a user may give a network, ``firewall.py`` the one
nftables table of an instance.
"""

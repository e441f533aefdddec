"""``cni``: networks that are made by plugins of the Container Network Interface (https://www.cni.dev/docs/spec/).

``configuration.py`` reads what a network is made of, ``invocation.py`` runs one plugin, ``answers.py`` reads what it
says, ``chain.py`` runs all plugins of a network in their order, ``records.py`` keeps what has been added, and
``driver.py`` is the driver.
"""

"""Networks, endpoints, sandboxes: libnetwork's model as records and addresses; drivers do the rest.

``service.py`` is what the engine calls; ``joining.py`` brings one container onto its networks and off them again,
``connecting.py`` changes them while it runs, and ``places.py`` says which of them is the way out.
``request.py`` reads what a client asks of a new network and ``wishes.py`` what it asks of a container's networking;
``subnets.py`` chooses address ranges, ``addresses.py`` gives out single addresses, ``ports.py`` the host's ports, and
``ferries.py`` says which of those no driver can turn round.
"""

from sampan.networks.service import Networks

__all__ = ["Networks"]

"""``sampan compare``: the same container under several drivers, side by side.

``plan.py`` says which combinations, ``rounds.py`` runs and measures them in turns (``traffic.py`` how fast bytes go),
``facts.py`` finds what differs in what their processes have, ``text.py`` and ``page.py`` show it.
"""

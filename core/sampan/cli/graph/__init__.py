"""``sampan network graph``: who is on which network, as a picture.

``picture.py`` reads it out of what the API tells; ``text.py``, ``dot.py`` and ``svg.py`` draw it.
"""

"""A container's life, a module for each turn in it; ``transitions.py`` is the table of what may follow what.

``creation.py`` → ``starting.py`` → ``stopping.py`` → ``ending.py`` → ``restart.py``; ``adoption.py`` is where a new
daemon takes up what an old one left.
"""

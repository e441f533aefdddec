"""Control groups: which ones a container has, and limits, counters, freezing and signals through them.

For every runtime whose containers are in groups, whoever makes these.
"""

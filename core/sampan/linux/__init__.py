"""The ground floor: thin, typed wrappers of kernel calls that Python 3.11 lacks. No policy.

Standard library only and as little of it as possible: the launcher imports these modules, and every idle container
pays for what it imported.
"""

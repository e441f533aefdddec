"""Drivers that are wrong on purpose, each in one way: the proof that the conformance kit notices (see ``judging``)."""

"""The files of a container: seen, copied in and out, committed, and the three that an engine writes for it."""

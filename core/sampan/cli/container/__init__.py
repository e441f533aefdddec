"""What ``sampan container …`` and its short forms do."""

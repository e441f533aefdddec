"""What ``sampan image …`` and its short forms do."""

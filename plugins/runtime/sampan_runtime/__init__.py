"""Runtime drivers that come with sampan. Keep this file empty: the launcher imports it."""

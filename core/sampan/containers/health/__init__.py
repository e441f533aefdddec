"""Health checks: what they are, when they are due, and one under way."""

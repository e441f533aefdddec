"""What a container says and hears: attached clients, and its log."""

"""HTTP/1.1 on asyncio's bare protocol: requests in, replies and streams out, connections handed over.

Frameworks lose what a client sends before the answer to an upgrade has left, and that is standard input of a
container; so this is written on asyncio itself. Nothing in here knows what a container is.
"""

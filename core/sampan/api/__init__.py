"""The Docker Engine API, versions 1.24 to 1.50: the one room that knows HTTP.

``wire/`` speaks HTTP/1.1 on a bare asyncio protocol and hands streams over. ``router`` finds the handler of a request,
``nouns/`` holds the handlers, one module per noun, ``views/`` shapes the engine's records into the API's answers, and
``failures`` turns kinds of error into statuses. ``daemon`` is the process around all of it.
"""

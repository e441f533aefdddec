"""What a container is asked to be: the words of a create request, checked, and made a complete configuration.

``request.py`` is the body as it comes; ``checks.py``, ``limits.py``, ``logconfig.py``, ``mountwords.py`` and
``security.py`` say which values make sense; ``config.py`` puts it all together with the image. No kernel here.
"""

"""Images: content store, layers, references, archives, and the image of the host itself.

:class:`sampan.images.service.Images` is what the rest of the engine talks to.
"""

"""The parameter ``platform`` of what reads images that are here: each is for the one platform that it was made for."""

from __future__ import annotations

import msgspec

from sampan.errors import Invalid, NotFound
from sampan.images.registry import platforms
from sampan.images.registry.documents import PlatformOf
from sampan.images.registry.platforms import Platform
from sampan.types import Image


def of(image: Image) -> Platform:
    return platforms.of(image.config)


def check(image: Image, text: str, name: str) -> None:
    """``text`` is JSON, as the API has it; ``""`` is any. ``NotFound``, in Docker's words, if the image, which the user
    calls ``name``, is for another platform; ``Invalid`` if the text is none."""
    if not text:
        return
    found, wanted = of(image), _read(text)
    if found not in platforms.runnable(wanted):
        raise NotFound(platforms.mismatch(name, found, wanted))


def check_ours(text: str) -> None:
    """Of an archive with images for several platforms, this machine's are kept. ``NotFound`` for another one."""
    here = platforms.parse("")
    if text and (wanted := _read(text)) not in platforms.runnable(here):
        raise NotFound(f"images for {wanted} are not kept here: of an archive, those for {here} are loaded")


def _read(text: str) -> Platform:
    try:
        return msgspec.json.decode(text, type=PlatformOf).normal
    except msgspec.MsgspecError:
        raise Invalid('the parameter "platform" must be a JSON object such as {"os": "linux"}') from None

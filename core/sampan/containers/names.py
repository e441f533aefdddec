"""Names: which are valid, and one for whoever gave none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container

from sampan.errors import Exhausted, Invalid

PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)

ADJECTIVES = """
able agile amber ample awake balmy bold brave breezy bright brisk calm candid cheery clear clever cosy crisp
curious dapper daring deft eager early earnest easy fair famous fearless fine fleet fond frank fresh gallant
gentle gifted glad golden graceful handy happy hardy hearty honest humble jolly jovial keen kind lively lucid
lucky mellow merry mighty mild modest nautical neat nifty nimble noble patient placid playful plucky polite
proud prudent quick quiet ready robust serene sharp shiny silent sincere sleek smart snug sober solid spry
stately steady stoic sturdy sunny swift tidal tidy tranquil trusty upbeat valiant vivid warm wise witty zealous
"""
SURNAMES = """
aldrin amundsen anning archimedes avicenna babbage banneker bering bernoulli boole bose brahe brunel cabot
carson cartwright cavendish cook copernicus cousteau curie dampier darwin dias dirac drake earhart edison
eratosthenes euclid euler faraday fermat fermi flinders franklin frobisher galileo gauss germain goodall hadley
halley hamilton harrison henson herschel hertz heyerdahl hippalus hodgkin hopper hudson humboldt huygens hypatia
jemison johnson kepler khayyam kovalevskaya laplace lavoisier leibniz leif linnaeus lister lovelace magellan
maxwell meitner mendel mercator nansen newton noether ohm pascal pasteur piccard planck polo ptolemy pytheas
raman ride sagan shackleton slocum snell stark tasman tereshkova tesla turing verne vespucci volta wallis watt
wegener wren wu zhenghe
"""


def check(name: str) -> str:
    """The name without Docker's leading slash. Raises ``Invalid``."""
    bare = name.removeprefix("/")
    if not PATTERN.fullmatch(bare):
        raise Invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def invent(taken: Container[str]) -> str:
    """A name such as ``brave_magellan`` that is not ``taken``."""
    for attempt in range(100):
        name = f"{secrets.choice(ADJECTIVES.split())}_{secrets.choice(SURNAMES.split())}"
        if attempt > 5:
            name += str(secrets.randbelow(10_000))
        if name not in taken:
            return name
    raise Exhausted("no free container name was found; give one with --name")

"""How big things get before they are cut: what is copied, searched or grown in one go."""

from typing import Final, NamedTuple


class Bounds(NamedTuple):
    """Where counting changes its ways; smaller ones make the same counts.

    A *few* members are looked for one by one. A run of more than so many *members* is cut into
    pieces, of at most *piece* on average: a key that is no longer than its maximum has no need of
    an object of its own.
    """

    few: int = 32
    members: int = 1024
    piece: int = 256


USUAL: Final = Bounds()

"""Chance that leaves nothing to chance, for histories that are written out."""

from random import Random


class NearlyOne(Random):
    """All takes nearly as long as it may, and nothing happens that need not."""

    def random(self) -> float:
        return 0.99

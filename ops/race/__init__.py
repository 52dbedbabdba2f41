"""The last-unit race against any running shop: many buyers, few units, and the ledger afterwards."""

from ops.race.report import Entry
from ops.race.run import run_race

__all__ = ["Entry", "run_race"]

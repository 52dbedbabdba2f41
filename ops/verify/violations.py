"""What a check found, and whom it tells how far it has come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

OnProgress = Callable[[str, int, int], None]
"""Is told (what is being checked, how many are done, of how many)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be.

    check: the invariant's view, "inv_stock_ledger", or the read model's, "view stock". subject: what
    it is about: "sku_id A". explanation: a sentence for people. is_proven: False for what could not be
    compared, so that nobody knows whether it is right.
    """

    check: str
    subject: str
    explanation: str
    is_proven: bool = True


@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, and what came of it.

    check_count: rules of the database. view_count: views that were compared with the tables.
    violations: all that is not as it must be, or could not be compared.
    """

    check_count: int
    view_count: int
    violations: Sequence[Violation]

    @property
    def proven(self) -> list[Violation]:
        """What is wrong for certain."""
        return [each for each in self.violations if each.is_proven]

    @property
    def not_compared(self) -> list[Violation]:
        """What may be right or wrong."""
        return [each for each in self.violations if not each.is_proven]

    @property
    def line(self) -> str:
        """The verdict for scripts."""
        return f"verify: checks={self.check_count} views={self.view_count} violations={len(self.proven)}"

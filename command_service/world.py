"""What commands see and change: pure.

A command names the aggregates that it touches, the committer locks and loads them, the command
decides on immutable values and returns what shall change. Nothing here knows of a database.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from event_log.events import Event

KeyT = TypeVar("KeyT", bound=str | tuple[str, ...])
AggregateT = TypeVar("AggregateT")
AnswerT = TypeVar("AnswerT")


class LockRank(IntEnum):
    """The one order in which kinds are locked, by every process: so two of them never deadlock.

    A command may name keys of ranks from COUPON on after it has seen what it named before; keys of
    the earlier ranks must be known from the request alone.
    """

    CART = 1
    ORDER = 2
    ORDER_PAYMENTS = 3
    RESERVATION = 4
    MONEY_RECORD = 5
    COUPON = 6
    COUPON_CUSTOMER = 7
    LOCATION = 8
    STOCK = 9
    STOCK_DRIFT = 10
    PRODUCT = 11
    SKU = 12
    PRICE_LIST = 13
    PROMOTION = 14
    SKU_PRICES = 15
    PRICE_BOOK = 16


FIRST_DEPENDENT_RANK = LockRank.COUPON


class Mode(IntEnum):
    """How a key is touched; a batch takes the strongest mode that any of its commands asks for."""

    FRESH = 0
    """Made by us a moment ago, so absent for certain: nothing is locked or read."""
    READ = 1
    """Read without a lock: reference facts, whose change a moment later does no harm."""
    SHARE = 2
    """Read, and hold off those who would change it."""
    CHANGE = 3
    """Lock what is there."""
    CREATE = 4
    """Lock, and make a key row first if there is none, so that absence can be locked too."""


class NotLoadedError(LookupError):
    """A key was needed that the command could not name in time: it goes to the next batch."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[KeyT, AggregateT]):
    """A kind of aggregate, with its place in the lock order. Compared by rank."""

    name: str
    rank: LockRank

    def fresh(self, key: KeyT) -> "Touch":
        """Touches a key that was made up just now and that nobody else can name."""
        return Touch(self, key, Mode.FRESH)

    def read(self, key: KeyT) -> "Touch":
        """Touches the key without a lock."""
        return Touch(self, key, Mode.READ)

    def share(self, key: KeyT) -> "Touch":
        """Touches the key and holds off those who would change it."""
        return Touch(self, key, Mode.SHARE)

    def change(self, key: KeyT) -> "Touch":
        """Touches the key in order to change it."""
        return Touch(self, key, Mode.CHANGE)

    def create(self, key: KeyT) -> "Touch":
        """Touches the key in order to change it, or to make it."""
        return Touch(self, key, Mode.CREATE)

    def changed(self, key: KeyT, after: AggregateT) -> "Change":
        """States what the aggregate shall be."""
        return Change(self, key, after)

    def removed(self, key: KeyT) -> "Change":
        """States that there is none any more: its row stays as a key row, if the kind has such."""
        return Change(self, key, None)


class Touch(NamedTuple):
    """One key that a command names. A tuple: a cart of a hundred lines names two hundred."""

    kind: Kind[Any, Any]
    key: Any
    mode: Mode


@dataclass(frozen=True, slots=True)
class Change:
    """One aggregate as a command wants it to be."""

    kind: Kind[Any, Any]
    key: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Decision(Generic[AnswerT]):
    """What a command decided: its answer, the aggregates as they shall be, the facts to remember."""

    answer: AnswerT
    changes: Sequence[Change] = ()
    events: Sequence[Event] = ()


class Command(Generic[AnswerT]):
    """A command: a frozen dataclass that says what it touches and decides. Pure."""

    __slots__ = ()
    is_bulk: ClassVar[bool] = False
    """True sends it to the lane of long commands, so that short ones do not wait behind it."""

    @property
    def row_count(self) -> int:
        """How many rows it is about: a batch is capped by their sum."""
        return 1

    def touches(self) -> Iterable[Touch]:
        """Every key that is known from the request alone."""
        raise NotImplementedError

    def needs(self, world: "World") -> Iterable[Touch]:
        """Further keys of dependent ranks, once the roots are loaded; none by default."""
        return ()

    def decide(self, world: "World", now: datetime) -> Decision[AnswerT]:
        """Decides as of `now`.

        Raises:
            command_service.errors.Refusal: the state forbids it; nothing changes.
        """
        raise NotImplementedError


@dataclass(slots=True)
class World:
    """The aggregates of one batch: as loaded, and as changed by the commands decided so far."""

    _loaded: dict[LockRank, dict[Any, Any]] = field(default_factory=dict)
    _current: dict[LockRank, dict[Any, Any]] = field(default_factory=dict)
    _kinds: dict[LockRank, Kind[Any, Any]] = field(default_factory=dict)
    _unlocked: dict[LockRank, set[Any]] = field(default_factory=dict)

    def load(
        self,
        kind: Kind[KeyT, AggregateT],
        found: Mapping[KeyT, AggregateT | None],
        *,
        unlocked: Collection[KeyT] = (),
    ) -> None:
        """Adds aggregates as they are in the database; None stands for a key that does not exist.

        unlocked: keys that are read without a lock. Others may change them meanwhile, so we may not.
        """
        self._kinds[kind.rank] = kind
        self._unlocked.setdefault(kind.rank, set()).update(unlocked)
        self._loaded.setdefault(kind.rank, {}).update(found)

    def get(self, kind: Kind[KeyT, AggregateT], key: KeyT) -> AggregateT | None:
        """The aggregate as the commands before have left it, or None when there is none.

        Raises:
            NotLoadedError: the key was not named.
        """
        current = self._current.get(kind.rank)
        if current is not None and key in current:
            changed: AggregateT | None = current[key]
            return changed
        try:
            loaded: AggregateT | None = self._loaded[kind.rank][key]
        except KeyError:
            raise NotLoadedError(f"{kind.name} {key!r} was not named") from None
        return loaded

    def never_was(self, kind: Kind[KeyT, AggregateT], key: KeyT) -> bool:
        """True for a key that was not there when it was loaded, and that no command has made since."""
        return self._loaded[kind.rank][key] is None and self.get(kind, key) is None

    def apply(self, changes: Collection[Change]) -> None:
        """Makes a decision visible to the commands after it: all of it or, when it raises, nothing.

        Raises:
            NotLoadedError: a key was not named, or only to be read: another command of the batch may
                have named it so for itself.
        """
        for change in changes:
            kind, key = change.kind, change.key
            if key not in self._loaded.get(kind.rank, ()) or key in self._unlocked[kind.rank]:
                raise NotLoadedError(f"{kind} {key!r} was not named to be changed")
        for change in changes:
            self._current.setdefault(change.kind.rank, {})[change.key] = change.after

    def changed(self) -> list[tuple[Kind[Any, Any], list[tuple[Any, Any, Any]]]]:
        """All that differs from what was loaded, in lock order: (kind, [(key, before, after)])."""
        differing = []
        for rank, current in sorted(self._current.items()):
            loaded = self._loaded[rank]
            rows = [(key, loaded[key], current[key]) for key in sorted(current)]
            if rows := [row for row in rows if row[2] is not row[1]]:
                differing.append((self._kinds[rank], rows))
        return differing

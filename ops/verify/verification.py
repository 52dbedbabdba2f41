"""Checks everything: the rules of the database, and every view against the tables, both ways.

The shop may go on meanwhile. A view that is newer than the tables it is compared with is no mistake,
so whatever differs is looked at again, with tables as new as the view, before it is told.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from command_service.payment.domain import order_id_of
from ops.verify.differences import difference, owner, subject, view_name
from ops.verify.expectations import SOURCES, Views
from ops.verify.invariants import check_invariants
from ops.verify.served import ServedViews
from ops.verify.tables import Tables, snapshot
from ops.verify.violations import Examination, OnProgress, Violation
from read_models.checkpoints import Checkpoint
from read_models.connections import connect
from read_models.partitions import PARTITIONS, Address
from read_models.registry import load_registry
from read_models.views import PAYMENT

BATCH_IDS_MAX = 500
"""Ids whose views are computed and read at once: a few megabytes."""

CATCH_UP_SECONDS_MAX = 60.0
"""A projection that is a minute behind its log is itself what is wrong."""

REDIS_SECONDS_MAX = 10.0
"""For one answer; a verification is in no hurry."""

ROUNDS_MIN = 3
ROUNDS_MAX = 15
ROUND_SECONDS = 0.7
"""A price whose window opens is told within a second: over ROUNDS_MIN rounds that time has passed."""

NOT_COMPARED = "It was changed at every look, and could not be compared: look again when less happens."

TOUCHED = "SELECT DISTINCT context, key FROM events WHERE position > %s AND position <= %s"


async def verify(
    database_url: str, redis_url: str | None, *, on_progress: OnProgress
) -> list[Violation]:
    """The violations that `examine` finds; empty when all is well. Raises as it does."""
    return [*(await examine(database_url, redis_url, on_progress=on_progress)).violations]


async def examine(database_url: str, redis_url: str | None, *, on_progress: OnProgress) -> Examination:
    """All that is not as it must be, or could not be compared, and how much was. Writes nothing.

    redis_url: None leaves the read models out.

    Raises:
        psycopg.OperationalError, redis.RedisError: what was to be checked cannot be reached.
        Problem: the database holds no shop.
    """
    rules = await check_invariants(database_url, on_progress)
    if redis_url is None:
        return rules
    views = await _check_views(database_url, redis_url, on_progress)
    return Examination(rules.check_count, views.view_count, [*rules.violations, *views.violations])


async def _check_views(database_url: str, redis_url: str, on_progress: OnProgress) -> Examination:
    connection = connect(redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    try:
        serving = (await load_registry(connection)).serving
        if serving is None:
            told = Violation("read models", "generation", "None serves: queries are UNAVAILABLE.")
            return Examination(0, 0, [told])
        served = ServedViews(connection, serving)
        comparison = _Comparison(database_url, served, on_progress)
        found = await comparison.compare_all() or await comparison.settle()
        not_compared = sum(not each.is_proven for each in found)
        return Examination(0, comparison.looked_at_count - not_compared, found)
    finally:
        await connection.close()


@dataclass(slots=True)
class _Comparison:
    """One run over all views.

    suspects: what differed when it was last looked at, and how. looked_at_count: views, missing ones
    and those that nothing calls for too.
    """

    database_url: str
    served: ServedViews
    on_progress: OnProgress
    suspects: dict[Address, str] = field(default_factory=dict)
    looked_at_count: int = 0

    async def compare_all(self) -> list[Violation]:
        """Looks at every view once; returns why it could not, if it could not."""
        before = await self.served.checkpoints()
        async with snapshot(self.database_url) as tables:
            astray = _beyond(tables, before) or await self._late(tables)
            if astray:
                return astray
            known: set[Address] = set()
            for kind, source in SOURCES.items():
                ids = await tables.column(source.ids)
                for done in range(0, len(ids), BATCH_IDS_MAX):
                    self.on_progress(f"views of {kind}", done, len(ids))
                    expected = await source.views(tables, ids[done : done + BATCH_IDS_MAX])
                    known.update(expected)
                    self.suspects |= await self._differing(expected, list(expected))
                self.on_progress(f"views of {kind}", len(ids), len(ids))
            self.looked_at_count = len(known)
            await self._look_for_extras(known)
        return []

    async def settle(self) -> list[Violation]:
        """Looks at the suspects again and again, until each is cleared or proven, or time is up."""
        proven: set[Address] = set()
        for round_number in range(1, ROUNDS_MAX + 1):
            if not self.suspects or (round_number > ROUNDS_MIN and proven >= set(self.suspects)):
                break
            self.on_progress("looking again", round_number, ROUNDS_MAX)
            await asyncio.sleep(ROUND_SECONDS)
            async with snapshot(self.database_url) as tables:
                # Computed before the wait: a view that sells all the time is that of these tables only
                # at the moment in which it has just reached them.
                expected = await _views_of(tables, self.suspects)
                late = await self._late(tables)
                if late:
                    return late
                self.suspects = await self._differing(expected, list(self.suspects))
            touched = await self._touched_since(tables)
            # Who was once seen to be wrong, and differs still, is: it need not be quiet again.
            proven |= {address for address in self.suspects if not _is_touched(address, touched)}
            proven &= set(self.suspects)
        return [
            _violation(each, told) if each in proven else _not_compared(each)
            for each, told in self.suspects.items()
        ]

    async def _late(self, tables: Tables) -> list[Violation]:
        """Waits for the projections; returns the partitions that did not come as far as the tables."""
        self.on_progress("waiting for the projections", 0, 1)
        late = await self.served.late_partitions(tables.token, seconds_max=CATCH_UP_SECONDS_MAX)
        return [
            Violation(
                "read models",
                f"partition {partition}",
                f"It is at {checkpoint or 'nothing'}, the log was at {tables.token}"
                f" {CATCH_UP_SECONDS_MAX:.0f} seconds ago.",
            )
            for partition, checkpoint in late.items()
        ]

    async def _differing(self, expected: Views, addresses: Sequence[Address]) -> dict[Address, str]:
        found = await self.served.some(addresses)
        told = {
            address: difference(address, expected, value)
            for address, value in zip(addresses, found, strict=True)
        }
        return {address: text for address, text in told.items() if text is not None}

    async def _look_for_extras(self, known: set[Address]) -> None:
        """Suspects everything that stands where nothing was expected."""
        self.on_progress("views that nothing calls for", 0, 1)
        async for extras in _in_batches(self._unknown(known)):
            self.looked_at_count += len(extras)
            self.suspects |= await self._differing({}, extras)
        self.on_progress("views that nothing calls for", 1, 1)

    async def _unknown(self, known: set[Address]) -> AsyncIterator[Address]:
        async for address in self.served.every_address():
            if address not in known:
                yield address

    async def _touched_since(self, tables: Tables) -> set[tuple[str, str]]:
        """(context, key) of the events that a view just read may tell and these tables do not."""
        reached = [each.position for each in await self.served.checkpoints() if each is not None]
        through = max(reached, default=0)
        async with snapshot(self.database_url) as newer:
            rows = await newer.rows(TOUCHED, (tables.token.position, through))
        return {(context, key) for context, key in rows}


def _beyond(tables: Tables, before: Sequence[Checkpoint | None]) -> list[Violation]:
    """Partitions that were further than the log is now: they tell what a restored log has lost."""
    if tables.is_standby:
        return []
    return [
        Violation(
            "read models",
            f"partition {partition}",
            f"It is at {checkpoint}, beyond the log, which ends at {tables.token}: after a restore say"
            " `shopkeeper new-incarnation --yes`.",
        )
        for partition, checkpoint in zip(PARTITIONS, before, strict=True)
        if checkpoint is not None
        and checkpoint.incarnation == tables.token.incarnation
        and checkpoint.position > tables.token.position
    ]


async def _in_batches(addresses: AsyncIterator[Address]) -> AsyncIterator[list[Address]]:
    batch: list[Address] = []
    async for address in addresses:
        batch.append(address)
        if len(batch) == BATCH_IDS_MAX:
            yield batch
            batch = []
    if batch:
        yield batch


async def _views_of(tables: Tables, addresses: Iterable[Address]) -> Views:
    """What must stand at these addresses, and at others of the same owners."""
    ids_by_kind: dict[str, set[str]] = {}
    for made_of in map(owner, addresses):
        if made_of is not None:
            ids_by_kind.setdefault(made_of[0], set()).add(made_of[1])
    views: Views = {}
    for kind, ids in ids_by_kind.items():
        views |= await SOURCES[kind].views(tables, sorted(ids))
    return views


def _is_touched(address: Address, touched: set[tuple[str, str]]) -> bool:
    """Whether an event may have changed the view after the tables were read."""
    made_of = owner(address)
    if made_of is None:
        return False
    kind, identifier = made_of
    # A product's view changes with its SKUs too, whose keys are their own.
    if kind == "product":
        return any(context == "catalog" for context, _ in touched)
    # The events of a payment bear its order's key.
    wanted = order_id_of(identifier) if kind == PAYMENT.name else identifier
    return any(key == wanted for _, key in touched)


def _violation(address: Address, told: str) -> Violation:
    return Violation(f"view {view_name(address)}", subject(address), f"{told[0].upper()}{told[1:]}.")


def _not_compared(address: Address) -> Violation:
    return Violation(f"view {view_name(address)}", subject(address), NOT_COMPARED, is_proven=False)

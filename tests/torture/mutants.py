"""Mistakes that the torture must see: each a change of the code, planted into processes that run.

Those that a simulated database shows as well stand in tests/simulation; here real processes, sockets and
servers have to show them.
"""

from dataclasses import dataclass

from tests.torture.implants import Mutation


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake. sql: what is done to the database besides."""

    name: str
    mutations: tuple[Mutation, ...]
    sql: str = ""


PAUSE = 'Statement("SELECT pg_sleep(0.03)")'
"""Before a COMMIT, as on a slow disk: a race that is possible then happens within seconds."""

CHECKPOINT_APART_FROM_VIEWS = Mutant(
    "a checkpoint is written before its views",
    (
        Mutation(
            "read_models.writing",
            "    return [answer == 1 for answer in await connection.call_all(commands)]",
            """    import asyncio
    bare = [
        _command(partition, [each._replace(changes=()) for each in writes])
        for partition, writes in writes_by_partition.items()
    ]
    answers = await connection.call_all(bare)
    await asyncio.sleep(0.3)
    await connection.call_all([
        _command(partition, [each._replace(expected=each.reached) for each in writes])
        for partition, writes in writes_by_partition.items()
    ])
    return [answer == 1 for answer in answers]""",
        ),
    ),
)

TOKEN_IGNORED = Mutant(
    "a query ignores its token",
    (
        Mutation(
            "query_service.views",
            "    if token is None:\n        return None\n    for partition",
            "    if True:\n        return None\n    for partition",
        ),
    ),
)

LOSS_DENIES = Mutant(
    "views that are lost are answered with NOT_FOUND",
    (
        Mutation(
            "query_service.views",
            "if not all(each is not None and each.is_complete for each in found.checkpoints.values()):",
            "if False:",
        ),
    ),
)

ACKNOWLEDGED_BEFORE_COMMIT = Mutant(
    "a batch is committed only when the next one begins",
    (
        Mutation("command_service.postgresql", "answers, COMMIT])", "answers])"),
        Mutation("command_service.postgresql", "results[-2][0]", "results[-1][0]"),
        Mutation("command_service.postgresql", "else [BEGIN]", "else [COMMIT, BEGIN]"),
    ),
)

REQUEST_ID_UNCHECKED = Mutant(
    "nobody looks whether a request was carried out before",
    (
        Mutation("command_service.postgresql", "dict(map(_known, known))", "{}"),
        Mutation(
            "command_service.postgresql",
            "AS row(request_id, method, fingerprint, code, response)\nRETURNING",
            "AS row(request_id, method, fingerprint, code, response)\n"
            "ON CONFLICT (request_id) DO UPDATE SET position = excluded.position RETURNING",
        ),
    ),
)

STOCK_UNGUARDED = Mutant(
    "stock is not locked, nor checked by the database",
    (
        Mutation(
            "command_service.keyed_rows",
            'Statement(f"{lock} FOR NO KEY UPDATE"',
            "Statement(lock",
        ),
        Mutation(
            "command_service.postgresql",
            "[*patience, Statement(LOCK_LOG), ",
            f"[{PAUSE}, Statement(LOCK_LOG), ",
        ),
    ),
    sql="ALTER TABLE stock_levels DROP CONSTRAINT stock_never_oversold",
)

LOG_UNLOCKED = Mutant(
    "events are numbered without the lock of the log",
    (
        Mutation(
            "command_service.postgresql",
            "[*patience, Statement(LOCK_LOG), Statement(APPEND_EVENTS, append), ",
            f"[Statement(APPEND_EVENTS, append), {PAUSE}, ",
        ),
    ),
)

NEVER_EXPIRES = Mutant(
    "nobody gives back what was not paid in time",
    (
        Mutation(
            "command_service.checkout.expiry",
            "await asyncio.gather(*map(self._expire, _due(results)))",
            "await asyncio.gather(*map(self._expire, []))",
        ),
    ),
)

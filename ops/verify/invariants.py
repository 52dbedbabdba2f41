"""The rules that stand in the database: views named inv_*, each returning the rows that break it."""

from collections.abc import Iterable

import psycopg

from ops.failures import NO_SHOP, Problem
from ops.verify.violations import Examination, OnProgress, Violation

VIOLATIONS_PER_CHECK_MAX = 100
"""Rows told of one rule: more say nothing new, and a broken rule may break a million rows."""

RULES = """
SELECT relname::text, coalesce(obj_description(oid, 'pg_class'), relname::text)
FROM pg_class
WHERE relkind = 'v' AND starts_with(relname::text, 'inv_')
  AND relnamespace = current_schema()::regnamespace
ORDER BY relname
"""


async def check_invariants(database_url: str, on_progress: OnProgress) -> Examination:
    """Every row that breaks a rule. Each rule is checked as of one moment, not all of the same.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
        Problem: it has no rules.
    """
    violations: list[Violation] = []
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        connect_timeout=5,
        application_name="shopkeeper verify",
        options="-c default_transaction_read_only=on -c statement_timeout=10min",
    )
    async with connection:
        rules = await (await connection.execute(RULES.encode())).fetchall()
        if not rules:
            # Of nothing every rule holds; whoever asks does not mean that.
            raise Problem(NO_SHOP)
        for done, (view, rule) in enumerate(rules):
            on_progress("invariants", done, len(rules))
            # The name comes from the catalogue, where nobody but a migration puts one.
            query = f"SELECT * FROM {view} LIMIT {VIOLATIONS_PER_CHECK_MAX + 1}"
            cursor = await connection.execute(query.encode())
            names = [column.name for column in cursor.description or ()]
            violations += _told(view, rule, names, await cursor.fetchall())
        on_progress("invariants", len(rules), len(rules))
    return Examination(len(rules), 0, violations)


def _told(view: str, rule: str, names: list[str], rows: list[tuple[object, ...]]) -> Iterable[Violation]:
    for row in rows[:VIOLATIONS_PER_CHECK_MAX]:
        subject, *facts = (f"{name} {value}" for name, value in zip(names, row, strict=True))
        yield Violation(view, subject, f"{rule} Broken by: {', '.join(facts) or subject}.")
    if len(rows) > VIOLATIONS_PER_CHECK_MAX:
        yield Violation(view, "and more", f"{rule} More than {VIOLATIONS_PER_CHECK_MAX} rows break it.")

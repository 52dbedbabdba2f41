"""`rebuild`: the read models anew, while they serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from rich.table import Table

from event_log.reader import LogReader
from ops.commands.options import DATA_DIR, FLAG, RUN, DatabaseUrl, DataDir, RedisUrl, console
from ops.failures import ExitStatus, Problem
from ops.progress import progress
from ops.whereabouts import server_url
from projections.comparing import Comparison, NotLevel
from projections.rebuild import Rebuild, RebuildRefused
from read_models.connections import connect
from read_models.registry import GenerationState, Registry

app = typer.Typer()

POLL_SECONDS = 0.2
# A projector writes a batch in milliseconds; after this long none is there.
STALL_SECONDS_MAX = 30.0
REDIS_SECONDS_MAX = 5.0


@app.command(rich_help_panel=RUN)
def rebuild(
    *,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", metavar=FLAG, help="Switch although views differ.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", metavar=FLAG, help="Let the generation before serve again.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", metavar=FLAG, help="Delete the generations that do not serve.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", metavar=FLAG, help="Only list the generations.")
    ] = False,
    generation: Annotated[
        int | None,
        typer.Option(show_default="a new one", help="Take up this one, after an interruption."),
    ] = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Build the read models anew from the log, while they serve.

    A new generation of all views is filled beside the one that serves. When it is complete, both are
    fed and compared, view by view; if they are equal the new one serves from then on. The old one is
    kept up to date, so that --rollback loses nothing, until --drop deletes it. The projections must
    run: they do the work. Ctrl-C leaves the generation growing; --generation takes it up again.
    """
    if rollback + drop + status > 1:
        raise typer.BadParameter("--rollback, --drop and --status exclude each other")
    urls = (
        server_url("DATABASE_URL", database_url, data_dir),
        server_url("REDIS_URL", redis_url, data_dir),
    )
    if rollback:
        asyncio.run(_roll_back(*urls, generation))
    elif drop:
        asyncio.run(_drop(*urls, generation))
    elif status:
        asyncio.run(_list(*urls))
    else:
        asyncio.run(_rebuild(*urls, generation, accept_differences=accept_differences))


@asynccontextmanager
async def _steps(database_url: str, redis_url: str) -> AsyncIterator[Rebuild]:
    """The steps of a rebuild, whose refusals are told as Problems."""
    connection = connect(redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    reader = LogReader(database_url, application_name="shopkeeper rebuild")
    try:
        yield Rebuild(connection, reader)
    except RebuildRefused as refusal:
        raise Problem(str(refusal)) from refusal
    except NotLevel as error:
        raise Problem(
            f"the generations do not reach the same position ({error}): do the projections run?"
            " Their log says why",
            ExitStatus.UNREACHABLE,
        ) from error
    finally:
        await reader.close()
        await connection.close()


async def _rebuild(
    database_url: str, redis_url: str, generation: int | None, *, accept_differences: bool
) -> None:
    async with _steps(database_url, redis_url) as steps:
        before = (await steps.registry()).serving
        number = await steps.begin() if generation is None else await _known(steps, generation)
        if number == before:
            console.print(f"generation {number} serves already", highlight=False)
            return
        console.print(f"generation {number} is being filled", highlight=False)
        await _until_complete(steps, number)
        if (await steps.registry()).serving == number:
            console.print(f"generation {number} serves; there was none before", highlight=False)
            return
        await _require_equal(steps, number, accept_differences=accept_differences)
        await steps.switch(number)
    console.print(
        f"generation {number} serves. {before} is kept up to date for `rebuild --rollback`;"
        " `rebuild --drop` deletes it.",
        highlight=False,
        soft_wrap=True,
    )


async def _known(steps: Rebuild, number: int) -> int:
    """The number, if there is such a generation."""
    registry = await steps.registry()
    if registry.find(number) is None:
        there_are = ", ".join(str(known.number) for known in registry.generations) or "none"
        raise Problem(f"there is no generation {number}; there are: {there_are}")
    return number


async def _until_complete(steps: Rebuild, number: int) -> None:
    clock = asyncio.get_running_loop().time
    last_position, moved_seconds = -1, clock()
    with progress(console, "events") as on_progress:
        while True:
            reached = await steps.progress(number)
            on_progress("filling", reached.position, reached.last_position)
            if reached.is_complete:
                return
            if reached.position != last_position:
                last_position, moved_seconds = reached.position, clock()
            if clock() - moved_seconds > STALL_SECONDS_MAX:
                raise Problem(
                    f"generation {number} does not grow: do the projections run? Their log says why",
                    ExitStatus.UNREACHABLE,
                )
            await asyncio.sleep(POLL_SECONDS)


async def _require_equal(steps: Rebuild, number: int, *, accept_differences: bool) -> None:
    try:
        with progress(console, "views") as on_progress:
            found = await steps.compare(number, lambda count: on_progress("comparing", count, None))
    except NotLevel:
        # Nothing can be compared with views that stand still; they are what is to be replaced, perhaps.
        if not await steps.shows_as_much(number):
            raise
        if accept_differences:
            return
        raise Problem(_stands_still(number), ExitStatus.UNREACHABLE) from None
    console.print(f"{found.compared_count:,} views compared, {found.different_count:,} differ")
    if found.different_count and not accept_differences:
        raise Problem(_differences(found, number))


def _stands_still(number: int) -> str:
    return (
        "the generation that serves stands still, and cannot be compared; the log of `projections` says"
        f" why.\n{number} is ahead: `rebuild --generation {number} --accept-differences` lets it serve."
    )


def _differences(found: Comparison, number: int) -> str:
    names = "".join(f"\n  {name}" for name in found.different_names)
    more_count = found.different_count - len(found.different_names)
    more = f"\n  and {more_count:,} more" if more_count else ""
    return (
        f"the generation that serves was left in place, because these views differ:{names}{more}\n"
        f"`rebuild --generation {number} --accept-differences` switches all the same;"
        f" `rebuild --drop --generation {number}` deletes the new one."
    )


async def _roll_back(database_url: str, redis_url: str, generation: int | None) -> None:
    async with _steps(database_url, redis_url) as steps:
        registry = await steps.registry()
        number = _generation_before(registry) if generation is None else await _known(steps, generation)
        await steps.switch(number)
    console.print(f"generation {number} serves again; it was {registry.serving}", highlight=False)


def _generation_before(registry: Registry) -> int:
    """The newest complete generation older than the one that serves."""
    older = [
        known.number
        for known in registry.in_state(GenerationState.COMPLETE)
        if registry.serving is None or known.number < registry.serving
    ]
    if not older:
        raise Problem("there is no generation to go back to")
    return max(older)


async def _drop(database_url: str, redis_url: str, generation: int | None) -> None:
    async with _steps(database_url, redis_url) as steps:
        registry = await steps.registry()
        idle = [known.number for known in registry.generations if known.number != registry.serving]
        chosen = idle if generation is None else [await _known(steps, generation)]
        for number in chosen:
            await steps.drop(number)
            console.print(f"generation {number} is being deleted", highlight=False)
    if not chosen:
        console.print("there is no generation but the one that serves")


async def _list(database_url: str, redis_url: str) -> None:
    async with _steps(database_url, redis_url) as steps:
        registry = await steps.registry()
    table = Table("generation", "incarnation", "state", "serves", box=None)
    for known in registry.generations:
        serves = "yes" if known.number == registry.serving else ""
        table.add_row(str(known.number), known.incarnation, known.state, serves)
    console.print(table)

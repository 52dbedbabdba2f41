"""A batch of commands against the same commands one after another."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from command_service.errors import Refusal
from command_service.inventory.commands import (
    AdjustStock,
    ReceiveStock,
    RepairStock,
    ReturnStock,
    SetStockPolicy,
    TransferStock,
    UpsertLocations,
)
from command_service.inventory.domain import Demand, Location, Reservation
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import (
    CommitReservation,
    ReleaseReservation,
    ReserveStock,
    ShipReservation,
)
from command_service.world import Command
from tests.command_service.inventory.warehouse import HOUR
from tests.command_service.inventory.warehouses import (
    SOME,
    MakeWarehouse,
    WarehouseInMemory,
    attempt,
)

FEW, FEW_OR_NONE = st.integers(1, 5), st.integers(0, 5)


def commands(prefix: str) -> st.SearchStrategy[Command[Any]]:
    """Any command on two SKUs, two locations and three reservations.

    Ranks stay as they are: a rank is read with the level, so a batch sees a new one a batch later.
    """
    east, west = f"{prefix}east", f"{prefix}west"
    skus = st.sampled_from((f"{prefix}cup", f"{prefix}mug"))
    places = st.sampled_from((east, west))
    ids = st.sampled_from([f"{prefix}r{n}" for n in range(3)])
    rows = some(st.builds(StockRow, skus, places, FEW))
    locations = some(st.builds(Location, places, st.just(""), st.just(1), st.booleans()))
    demands = some(st.builds(Demand, skus, FEW, st.none() | places))
    return st.one_of(
        st.builds(ReceiveStock, rows, st.just("")),
        st.builds(ReturnStock, rows, st.just("")),
        st.builds(AdjustStock, skus, places, FEW_OR_NONE, FEW_OR_NONE, st.just("")),
        st.builds(TransferStock, skus, st.just(east), st.just(west), FEW, st.just("")),
        st.builds(SetStockPolicy, skus, places, FEW_OR_NONE, FEW_OR_NONE),
        st.builds(RepairStock, skus),
        st.builds(UpsertLocations, locations),
        st.builds(ReserveStock, ids, st.just("x"), demands, st.just(HOUR)),
        st.builds(CommitReservation, ids),
        st.builds(ReleaseReservation, ids),
        st.builds(ShipReservation, ids),
    )


def some(part: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """One to three of them."""
    return st.lists(part, min_size=1, max_size=3).map(tuple)


def test_a_batch_decides_as_its_commands_would_one_after_another(
    make_warehouse: MakeWarehouse,
) -> None:
    @settings(SOME, max_examples=30)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        batched, prefix = make_warehouse()
        one_by_one = WarehouseInMemory()
        places = tuple(Location(f"{prefix}{name}", "", 1, active=True) for name in ("east", "west"))
        batch: list[Command[Any]] = [UpsertLocations(places)]
        for _ in range(3):
            answers = [comparable(answer) for answer in batched.together(batch)]
            assert answers == [comparable(attempt(one_by_one, command)) for command in batch]
            assert batched.levels() == one_by_one.levels()
            batch = data.draw(st.lists(commands(prefix), min_size=1, max_size=15))

    check()


def comparable(answer: Any) -> Any:
    """The answer without the clock."""
    if isinstance(answer, Refusal):
        return answer.reason, answer.facts
    if isinstance(answer, Reservation):
        return answer.state, answer.lines
    return answer

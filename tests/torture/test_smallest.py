"""The smallest history of a violation has what matters, and nothing beside it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.torture import test_checker as broken
from tests.torture import test_dealings as misdealt
from tests.torture import test_reads as misread
from tests.torture.checker import check
from tests.torture.evidence import Hold, LoggedEvent, Movement, StoredAnswer
from tests.torture.history import Operation, Record, Struck
from tests.torture.kept import Judged
from tests.torture.showing import lines_of
from tests.torture.smallest import MOVERS_MAX, Smallest, fewest, smallest
from tests.torture.stories import Story, at, busy_story, good_story
from tests.torture.test_checker import Break
from tests.torture.violations import Violation

SECONDS_MAX = 30.0
BESIDE_COUNT = 60
RECEIVED, PLACED, PAID = "ReceiveStock", "PlaceOrder", "RecordPayment"


def beside(story: Story, number: int, *, sku_id: str) -> Operation:
    """Somebody else receives a unit of something, an hour earlier, and somebody looks at it."""
    request_id = f"beside {number}"
    position = 1000 + number
    call = Operation(
        1000 + number, "clerk 0", "command_service#1", RECEIVED, request_id, units={sku_id: 1}
    )
    story.history.append(call)
    story.evidence.events.append(LoggedEvent(position, at(0), "StockMoved", sku_id, request_id))
    story.evidence.movements.append(Movement(position, sku_id, "main", 1, 0, 0, 0))
    story.evidence.answers[request_id] = StoredAnswer(RECEIVED, 0, "", position)
    story.evidence.holds.append(Hold(f"hold {number}", 2, at(1)))
    story.query("GetOrder", asked={"order_id": f"order {number}"}, told={"version": 1})
    return call


def judged(story: Story) -> Judged:
    return Judged(story.history, len(story.history), story.evidence, story.pulses)


def found_by(story: Story, name: str) -> Smallest:
    violation = next(each for each in story.found() if each.check == name)
    found = smallest(judged(story), violation, seconds_max=SECONDS_MAX)
    assert found is not None
    assert facts(violation) in map(facts, found.judged.found())
    return found


def found_amid_others(story: Story, break_it: Break, name: str) -> Smallest:
    """What is left of the story when it is broken, and much else goes on beside it."""
    break_it(story)
    for number in range(BESIDE_COUNT):
        beside(story, number, sku_id=f"sku {number % 3}")
    return found_by(story, name)


def facts(violation: Violation) -> tuple[Any, ...]:
    numbers = [call.number for call in violation.operations]
    return violation.check, violation.explanation, numbers


@pytest.mark.parametrize(
    ("break_it", "name", "methods"),
    [
        (broken.lose_answer, "answer lost", [RECEIVED]),
        (broken.answer_in_two_ways, "two answers", [PLACED, PLACED]),
        (broken.store_other_bytes, "two answers", [PLACED]),
        (broken.refuse_what_has_effect, "effect of nothing", [PAID]),
        (broken.lose_effect, "not one effect", [PAID]),
        (broken.move_less, "stock not conserved", [RECEIVED]),
        (broken.forget_movement, "stock not conserved", [RECEIVED, PLACED, PAID]),
        (broken.oversell, "oversold", [RECEIVED, PLACED, PAID, "ReserveStock"]),
        (misread.read_old_stock, "stale read", [RECEIVED, PLACED, PAID, "GetStock"]),
        (misread.read_old_stock_of_many, "stale read", [RECEIVED, PLACED, PAID, "BatchGetStock"]),
        (misread.read_old_order, "stale read", [PLACED, PAID, "GetOrder"]),
        (
            broken.ship_what_was_cancelled,
            "impossible history",
            [PLACED, PAID, "CancelOrder", "FulfillOrderLines"],
        ),
        (broken.lose_money, "money not conserved", [PAID]),
        (broken.hold_for_too_long, "overdue hold", []),
        (broken.have_a_worker_lose_stock, "stock not conserved", [RECEIVED, PLACED, PAID]),
        (broken.fail, "internal error", [PLACED]),
    ],
)
def test_only_what_matters_is_left_of_a_busy_shop(
    break_it: Break, name: str, methods: list[str]
) -> None:
    story = good_story()
    found = found_amid_others(story, break_it, name)
    assert sorted(call.method for call in found.judged.history) == sorted(methods)
    rows = [*found.judged.evidence.movements, *found.judged.evidence.holds]
    assert len(rows) <= len(methods) + 1


@pytest.mark.parametrize(
    ("break_it", "name", "methods"),
    [
        (
            misdealt.shelve_units_of_an_order_twice,
            "promise not kept",
            {PLACED, PAID, "FulfillOrderLines", "ReturnOrderLines"},
        ),
        (misdealt.return_units_twice, "units not conserved", {"FulfillOrderLines", "ReturnOrderLines"}),
        (misdealt.merge_twice, "cart not as filled", {"CreateCart", "AddCartLine", "MergeCarts"}),
        (misdealt.use_a_coupon_too_often, "coupon not conserved", {PLACED, "RefundPayment"}),
        (misdealt.refund_another_amount, "not as asked", {"RefundPayment"}),
    ],
)
def test_of_what_staff_and_customers_did_what_matters_is_left(
    break_it: Break, name: str, methods: set[str]
) -> None:
    story = busy_story()
    found = found_amid_others(story, break_it, name)
    left = {call.method for call in found.judged.history}
    assert methods <= left
    assert len(found.judged.history) < 16


def test_of_stock_nothing_goes_from_between_but_all_that_came_later() -> None:
    story = good_story()
    story.moved(20, story.command("ReserveStock", position=20), reserved=5)
    for number in range(BESIDE_COUNT):
        beside(story, number, sku_id="cup")
    found = found_by(story, "oversold")
    assert found.judged.evidence.movements == story.evidence.movements[:4]
    assert found.before == ()


def test_of_a_long_past_that_does_not_cancel_out_the_older_part_is_one_movement() -> None:
    story = good_story()
    # What was received with the first cups has nothing to do with it.
    story.evidence.movements.insert(1, Movement(1, "saucer", "main", 9, 0, 0, 0))
    for number in range(200):
        beside(story, number, sku_id="cup")
    story.moved(2000, story.command("ReserveStock", position=2000), reserved=300)
    found = found_by(story, "oversold")
    [before] = found.before
    rest = [each for each in found.judged.evidence.movements if each != before]
    assert len(rest) <= MOVERS_MAX
    assert before.on_hand + sum(each.on_hand for each in rest) == 205
    assert rest[-1].reserved == 300
    lines = list(lines_of(found, Record()))
    assert lines[1].startswith("    before, last at ")
    assert "cup at main +1 on hand, which made " in lines[1]


def test_what_is_not_seen_again_has_no_smallest_history() -> None:
    violation = Violation("stuck", "for an hour")
    assert smallest(judged(good_story()), violation, seconds_max=SECONDS_MAX) is None


def test_when_time_is_up_what_is_left_then_still_shows_it() -> None:
    story = good_story()
    broken.oversell(story)
    [violation] = [each for each in story.found() if each.check == "oversold"]
    found = smallest(judged(story), violation, seconds_max=0.0)
    assert found is not None
    left = check(found.judged.history, found.judged.evidence, found.judged.pulses)
    assert facts(violation) in map(facts, left)


def test_of_what_shows_something_only_together_none_goes() -> None:
    asked: list[int] = []

    def shows(numbers: Any) -> bool:
        asked.append(len(numbers))
        return {3, 500, 998} <= set(numbers)

    assert fewest(range(1000), shows, lambda: False) == [3, 500, 998]
    assert len(asked) < 200


def test_a_violation_is_read_in_order_of_time_with_the_faults_in_between() -> None:
    story = good_story()
    story.moved(20, story.command("ReserveStock", position=20), reserved=5)
    for index, call in enumerate(story.history):
        begin_seconds, end_seconds = call.begin_seconds + 1000, (call.end_seconds or 0) + 1000
        story.history[index] = replace(call, begin_seconds=begin_seconds, end_seconds=end_seconds)
    record = Record(
        faults=[
            Struck("kill command_service#0", 1002.25, 1003.25),
            Struck("lose commit command_service#1 postgres", 1001.25, 1002.25, is_met=False),
            Struck("flush valkey", 1300.0, 1301.0),
        ]
    )
    record.beginning = record.beginning._replace(begun_seconds=1000.0)
    lines = list(lines_of(found_by(story, "oversold"), record))
    assert "4 of 10 operations" in lines[0]
    told = [line for line in lines[1:] if not line.lstrip().startswith("wrote")]
    assert [line.split()[0] for line in told] == ["1.000", "1.250", "2.000", "2.250", "3.000", "10.000"]
    assert "fault: lose commit command_service#1 postgres, which nobody met" in told[1]
    assert "2.250 -    3.250 fault: kill command_service#0" in told[3]
    assert not any("flush valkey" in line for line in lines)
    [received] = [line for line in lines if "cup at main +5 on hand" in line]
    assert "which made 5 on hand, 0 reserved, 0 allocated" in received


def test_how_well_all_was_is_told_of_what_is_judged_by_it() -> None:
    story = good_story()
    broken.hold_for_too_long(story)
    lines = list(lines_of(found_by(story, "overdue hold"), Record()))
    assert lines[1:] == [
        "       90.000 -  100.000 all was well",
        "      100.000 -  100.000 in the tables: Hold reservation_id=other state=1 expire_time=90.000",
    ]

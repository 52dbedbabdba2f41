"""What is written of a run can be read again; what ended later is told as it was."""

from io import StringIO
from pathlib import Path

from tests.torture.history import History, Operation, Outcome, Pulse, commands_by_request, read


def test_operations_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = StringIO()
    history = History(file)
    begun = history.begin(Operation(0, "buyer 0", "door", "PlaceOrder", request_id="a"))
    history.beat(Pulse(1.0, 1.25, is_well=True))
    ended = history.end(begun, outcome=Outcome.OK, told={"order_id": "o"}, units={"cup": -1})
    path = tmp_path / "history.jsonl"
    path.write_text(file.getvalue())
    assert read(path) == [ended]


def test_what_ended_after_a_mark_is_still_under_way() -> None:
    history = History(StringIO())
    first, second = (
        history.begin(Operation(0, "buyer", "door", "PlaceOrder", request_id=name)) for name in "ab"
    )
    ended = history.end(first, outcome=Outcome.OK)
    mark = history.mark()
    history.end(second, outcome=Outcome.OK, token="0000000a.1")
    third = history.begin(Operation(0, "buyer", "door", "PlaceOrder", request_id="c"))
    assert history.as_of(mark) == [ended, second, third]


def test_calls_of_one_request_belong_together() -> None:
    calls = [Operation(n, "buyer", "door", "PlaceOrder", request_id="a") for n in range(3)]
    query = Operation(4, "reader", "door", "GetStock")
    assert commands_by_request([*calls, query]) == {"a": calls}

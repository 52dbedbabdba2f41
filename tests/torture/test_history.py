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
    assert read(path).operations == [ended]
    assert read(path).pulses == [Pulse(1.0, 1.25, is_well=True)]


def test_faults_stand_with_their_times_between_the_operations(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with path.open("w") as file:
        history = History(file)
        history.open(seed=7, minutes=0.5)
        missed = history.strike("lose commit command_service#0 postgres")
        history.end(history.begin(Operation(0, "buyer 0", "door", "PlaceOrder")))
        lasting = history.strike("pause valkey")
        history.heal(missed, is_met=False)
    record = read(path)
    assert record.beginning[:2] == (7, 0.5)
    [healed, left] = record.faults
    [operation] = record.operations
    assert healed == missed._replace(end_seconds=healed.end_seconds, is_met=False)
    assert left == lasting
    assert healed.end_seconds is not None
    assert (
        record.beginning.begun_seconds
        <= healed.begin_seconds
        <= operation.begin_seconds
        <= left.begin_seconds
        <= healed.end_seconds
    )


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

"""A run that broke a promise leaves behind what it takes to judge it again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ops.embedded import EmbeddedPostgres
from tests.torture.__main__ import conclude, main
from tests.torture.evidence import Errand, PaymentRow
from tests.torture.history import History, Operation, Outcome
from tests.torture.kept import HISTORY, Judged, Keeper, keep, read_kept
from tests.torture.running import Result
from tests.torture.shop import POSTGRES_LOG, keep_log
from tests.torture.stories import Story, at, busy_story, good_story
from tests.torture.test_checker import oversell
from tests.torture.violations import Violation


def broken_story() -> Story:
    story = good_story()
    oversell(story)
    story.evidence.payments.append(PaymentRow("order.1", "order", "pi_1", 0, 250, 3))
    story.evidence.errands.append(Errand("order.1", "order", at(98.5), is_in_flight=True))
    story.evidence = replace(story.evidence, provider_money={"pi_1": (0, 0)})
    return story


def told_of(folder: Path, story: Story) -> Judged:
    """Has a folder hold a story, as a run would; its last operation is still under way."""
    judged = Judged(story.history, len(story.history) - 1, story.evidence, story.pulses)
    with (folder / HISTORY).open("w") as file:
        history = History(file)
        history.open(seed=7, minutes=3.0)
        for pulse in story.pulses:
            history.beat(pulse)
        for call in story.history[:-1]:
            file.write(f"{call.as_json()}\n")
        history.heal(history.strike("flush valkey"), is_met=True)
    keep(folder, judged, 1)
    return judged


def test_what_was_judged_is_read_again_as_it_was(tmp_path: Path) -> None:
    judged = told_of(tmp_path, broken_story())
    [again] = read_kept(tmp_path).judged
    assert again == judged
    assert judged.found()
    assert again.found() == judged.found()


def test_all_that_a_busy_shop_left_is_read_again(tmp_path: Path) -> None:
    judged = told_of(tmp_path, busy_story())
    [again] = read_kept(tmp_path).judged
    assert again == judged
    assert again.found() == []


def test_what_nobody_read_when_it_was_kept_is_taken_for_nothing(tmp_path: Path) -> None:
    judged = told_of(tmp_path, broken_story())
    [path] = tmp_path.glob("evidence-*.json")
    kept = json.loads(path.read_text())
    for name in ("order_lines", "refunds", "coupons", "coupon_uses", "cart_units"):
        del kept["evidence"][name]
    path.write_text(json.dumps(kept))
    [again] = read_kept(tmp_path).judged
    assert again == judged


def test_a_folder_is_judged_again_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = told_of(tmp_path, broken_story())
    monkeypatch.setattr("sys.argv", ["torture", "--judge", str(tmp_path)])
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert "oversold: cup: 6 promised of 5 at 6" in lines
    assert any("ReceiveStock ok" in line for line in lines)
    assert f"judged again: make torture JUDGE={tmp_path}" in lines
    assert "the same faults again: make torture MINUTES=3 SEED=7" in lines
    assert lines[-1] == f"judged: operations=9 violations={len(judged.found())}"


def test_a_run_that_broke_something_shows_what_shows_it_and_how_to_see_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = told_of(tmp_path, broken_story())
    told = Violation("an error was logged", "command_service#0: a mistake")
    result = Result(7, 1.52, violations=[*judged.found(), told])
    assert conclude(result, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "oversold: cup: 6 promised of 5 at 6" in lines
    assert any("ReceiveStock ok" in line for line in lines)
    assert "an error was logged: command_service#0: a mistake" in lines
    assert f"judged again: make torture JUDGE={tmp_path}" in lines
    assert lines[-1].startswith("torture: seed=7 minutes=1.52 ")


def test_a_folder_without_evidence_is_not_taken_for_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / HISTORY).touch()
    monkeypatch.setattr("sys.argv", ["torture", "--judge", str(tmp_path)])
    assert main() == 2
    assert capsys.readouterr().out == f"judged: nothing, for {tmp_path} holds no evidence\n"


async def test_evidence_is_kept_of_each_violation_that_was_not_seen_before(
    tmp_path: Path, database_url: str
) -> None:
    with (tmp_path / HISTORY).open("w") as file:
        history = History(file)
        keeper = Keeper(tmp_path, history, database_url)
        assert (await keeper.judge())[1] == []
        for _ in range(2):
            asked = Operation(0, "buyer 0", "door", "ReceiveStock", request_id="lost", digest="bytes")
            history.end(history.begin(asked), outcome=Outcome.OK)
            for _ in range(2):
                _, found = await keeper.judge()
                assert [each.check for each in found] == ["answer lost"]
        keeper.keep_last()
    kept = read_kept(tmp_path)
    assert [len(each.history) for each in kept.judged] == [1, 2]
    assert [each.check for each in kept.judged[-1].found()] == ["answer lost"]


async def test_of_what_the_checker_does_not_see_the_last_evidence_is_kept(
    tmp_path: Path, database_url: str
) -> None:
    with (tmp_path / HISTORY).open("w") as file:
        history = History(file)
        keeper = Keeper(tmp_path, history, database_url)
        keeper.keep_last()
        assert read_kept(tmp_path).judged == []
        judged, _ = await keeper.judge()
        keeper.keep_last()
    assert read_kept(tmp_path).judged == [judged]


def test_what_postgresql_said_before_its_log_was_emptied_is_kept(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    postgres.data_dir.mkdir()
    for text in ("before\n", "after\n"):
        postgres.log_path.write_text(text)
        keep_log(postgres, tmp_path)
        assert postgres.log_path.read_text() == ""
    assert (tmp_path / POSTGRES_LOG).read_text() == "before\nafter\n"

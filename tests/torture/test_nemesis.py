"""The seed decides what goes wrong, and when."""

from tests.torture.faults import CrashPostgres, Kill
from tests.torture.nemesis import schedule

TARGETS = {Kill: ["command_service#0", "command_service#1"], CrashPostgres: [""]}


def test_the_same_seed_makes_the_same_schedule() -> None:
    assert schedule(7, 60, TARGETS) == schedule(7, 60, TARGETS)
    assert schedule(7, 60, TARGETS) != schedule(8, 60, TARGETS)
    assert schedule(7, 60, TARGETS) != schedule(7, 60, TARGETS, round_number=1)


def test_all_is_healed_when_time_is_up() -> None:
    planned = schedule(7, 600, TARGETS)
    assert {each.kind for each in planned} == {Kill, CrashPostgres}
    assert all(each.at_seconds + each.lasts_seconds <= 600 for each in planned)


def test_nothing_is_struck_twice_at_once_in_the_same_way() -> None:
    planned = schedule(7, 600, TARGETS)
    ends: dict[object, float] = {}
    for each in planned:
        struck = (each.kind, each.target)
        assert ends.get(struck, 0.0) < each.at_seconds
        ends[struck] = each.at_seconds + each.lasts_seconds

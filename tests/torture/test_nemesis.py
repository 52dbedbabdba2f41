"""The seed decides what goes wrong, and when."""

from io import StringIO
from pathlib import Path

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.sandboxes.stripe.server import StripeSandbox
from tests.torture.disk import LimitedDisk
from tests.torture.faults import CrashPostgres, Fault, Kill
from tests.torture.history import History, read
from tests.torture.nemesis import Nemesis, Planned, schedule
from tests.torture.shop import Shop, WholeShop

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


class Rumour(Fault):
    """Hits those who believe it."""

    kind = "rumour"

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        return ["believer", "doubter"]

    async def begin(self, whole: WholeShop) -> None:
        """Nothing has to be done."""

    async def heal(self, whole: WholeShop) -> None:
        """Nor then."""

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        return self.target == "believer"


async def test_only_what_hit_somebody_counts(tmp_path: Path) -> None:
    postgres, valkey = EmbeddedPostgres(tmp_path / "postgres"), EmbeddedValkey(tmp_path / "valkey")
    shop = Shop(postgres, valkey, "", tmp_path, "", {})
    told: list[str] = []
    file = StringIO()
    whole = WholeShop(shop, LimitedDisk(tmp_path), StripeSandbox())
    nemesis = Nemesis(whole, History(file), told.append)
    await nemesis.strike(
        [Planned(0.0, 0.0, Rumour, each) for each in ("believer", "doubter", "doubter")]
    )
    assert nemesis.counts == {"rumour": 1}
    assert nemesis.missed == {"rumour": 2}
    assert told.count("nobody met rumour doubter") == 2
    path = tmp_path / "history.jsonl"
    path.write_text(file.getvalue())
    noted = [(each.fault, each.end_seconds is not None, each.is_met) for each in read(path).faults]
    assert sorted(noted) == [
        ("rumour believer", True, True),
        ("rumour doubter", True, False),
        ("rumour doubter", True, False),
    ]

"""How chance is drawn: seeded, as often as asked, and never what cannot happen."""

from collections import Counter

import pytest

from tests.sandboxes.faults import (
    NEEDS_KEY,
    ArmedFault,
    FaultKind,
    Faults,
    FaultSettings,
    armed_from_json,
    settings_from_json,
)

PATH = "/v1/refunds"


def drawn(settings: FaultSettings, count: int, *, has_key: bool = True) -> list[FaultKind | None]:
    """What happens to so many calls."""
    faults = Faults(settings)
    return [faults.draw("POST", PATH, has_key=has_key) for _ in range(count)]


def test_calm_is_the_default() -> None:
    assert set(drawn(FaultSettings(), 1000)) == {None}


def test_a_seed_fixes_what_happens() -> None:
    first, again = (drawn(FaultSettings(probability=0.3, seed=7), 200) for _ in range(2))
    assert first == again
    assert drawn(FaultSettings(probability=0.3, seed=8), 200) != first


def test_every_kind_happens_about_as_often_as_the_others() -> None:
    counts = Counter(drawn(FaultSettings(probability=0.2, seed=1), 11_000))
    assert 8_500 < counts.pop(None) < 9_100
    assert set(counts) == set(FaultKind)
    assert all(120 < count < 280 for count in counts.values())


def test_a_call_without_a_key_meets_nothing_that_needs_one() -> None:
    assert NEEDS_KEY.isdisjoint(drawn(FaultSettings(probability=1.0), 1000, has_key=False))


def test_only_the_chosen_kinds_happen() -> None:
    settings = FaultSettings(probability=1.0, kinds=(FaultKind.KEY_IN_USE,))
    assert set(drawn(settings, 10)) == {FaultKind.KEY_IN_USE}
    assert set(drawn(settings, 10, has_key=False)) == {None}


def test_an_armed_fault_meets_the_calls_it_is_meant_for_and_no_more() -> None:
    faults = Faults()
    faults.arm(ArmedFault(FaultKind.RESET_AFTER, "POST", PATH, remaining_count=2))
    faults.arm(ArmedFault(FaultKind.RATE_LIMITED, "POST", PATH))
    assert faults.draw("GET", PATH, has_key=False) is None
    assert faults.draw("POST", "/v1/charges", has_key=False) is None
    kinds = [faults.draw("POST", f"{PATH}/re_1", has_key=False) for _ in range(4)]
    assert kinds == [FaultKind.RESET_AFTER, FaultKind.RESET_AFTER, FaultKind.RATE_LIMITED, None]
    assert faults.as_json()["counts"] == {"reset_after": 2, "rate_limited": 1}


def test_settings_and_orders_come_as_json() -> None:
    assert settings_from_json(
        {"probability": 0.2, "kinds": ["unavailable"], "seed": 3}
    ) == FaultSettings(probability=0.2, kinds=(FaultKind.UNAVAILABLE,), seed=3)
    assert settings_from_json({}) == FaultSettings()
    armed = {"kind": "late_effect", "method": "POST", "path_prefix": PATH, "remaining_count": 3}
    assert armed_from_json(armed) == ArmedFault(FaultKind.LATE_EFFECT, "POST", PATH, 3)
    with pytest.raises(ValueError, match="nonsense"):
        settings_from_json({"kinds": ["nonsense"]})

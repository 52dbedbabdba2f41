"""What holds for every cart, whatever the prices and promotions."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from command_service.adjustments import Adjustment
from command_service.money import round_half_away
from command_service.pricing.domain import (
    AmountOff,
    Benefit,
    BuyXGetY,
    Coupon,
    FreeShipping,
    PercentageOff,
    PriceBook,
    PricedLine,
    PricedLines,
    Promotion,
    SkuPrices,
)
from tests.command_service.pricing.shop import (
    Line,
    book,
    coupon,
    discounts_minor,
    price_list,
    priced,
    promotion,
    tiers,
    total_minor,
)

SKU_IDS = ("mug", "cup", "pot", "pin")


class Scene(NamedTuple):
    """A cart with all that decides its prices."""

    currency_code: str
    lines: list[Line]
    prices: dict[str, SkuPrices]
    promotions: list[Promotion]

    @property
    def book(self) -> PriceBook:
        """The promotions, and one list in the scene's currency."""
        return book(price_list(currency_code=self.currency_code), *self.promotions)

    def priced(self, coupons: Iterable[Coupon] = ()) -> PricedLines:
        """The lines, priced."""
        return priced(
            self.lines, self.prices, self.book, currency_code=self.currency_code, coupons=coupons
        )


def benefits(currency_code: str) -> st.SearchStrategy[Benefit]:
    return st.one_of(
        st.builds(PercentageOff, st.integers(1, 10_000)),
        st.builds(AmountOff, st.sampled_from([currency_code, "CHF"]), st.integers(1, 20_000)),
        st.builds(BuyXGetY, st.integers(1, 4), st.integers(1, 3)),
        st.just(FreeShipping()),
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    currency_code = draw(st.sampled_from(["GBP", "JPY", "KWD"]))
    amounts = st.integers(0, 5_000) | st.integers(0, 10**12)
    cart = [
        Line(f"line-{place}", draw(st.sampled_from(SKU_IDS)), draw(st.integers(1, 30)))
        for place in range(draw(st.integers(1, 6)))
    ]
    prices = {
        sku_id: SkuPrices(sku_id, {"retail": tiers((1, draw(amounts)), (5, draw(amounts)))})
        for sku_id in SKU_IDS
    }
    promotions = [
        promotion(
            f"promotion-{place}",
            draw(benefits(currency_code)),
            priority=draw(st.integers(0, 2)),
            sku_ids=draw(st.frozensets(st.sampled_from(SKU_IDS), max_size=2)),
            exclusive=draw(st.booleans()),
            minimum_subtotal_minor=draw(st.none() | st.integers(0, 10_000)),
            minimum_subtotal_currency_code=currency_code,
        )
        for place in range(draw(st.integers(0, 4)))
    ]
    return Scene(currency_code, cart, prices, promotions)


@given(scenes())
def test_every_step_adds_up_and_no_line_costs_less_than_nothing(scene: Scene) -> None:
    for line in scene.priced().lines:
        left_minor = line.subtotal_minor
        assert left_minor == line.unit_price_minor * line.quantity
        for adjustment in line.adjustments:
            assert adjustment.amount_minor <= 0
            left_minor += adjustment.amount_minor
            assert left_minor >= 0
        assert line.total_minor == left_minor


@given(scenes())
def test_a_rounding_is_stated_exactly_or_there_was_none(scene: Scene) -> None:
    for line in scene.priced().lines:
        for adjustment in line.adjustments:
            exact = exact_amount(adjustment)
            assert abs(exact - adjustment.amount_minor) < 1
            assert (exact == adjustment.amount_minor) == (adjustment.exact_amount_minor == "")


@given(scenes())
def test_a_percentage_is_exactly_its_rate_of_what_the_steps_before_it_left(scene: Scene) -> None:
    benefit_by_id = {each.promotion_id: each.benefit for each in scene.promotions}
    for line in scene.priced().lines:
        left_minor = line.subtotal_minor
        for adjustment in line.adjustments:
            benefit = benefit_by_id[adjustment.promotion_id]
            if isinstance(benefit, PercentageOff):
                assert exact_amount(adjustment) == -left_minor * Fraction(benefit.basis_points, 10_000)
            left_minor += adjustment.amount_minor


@given(scenes())
def test_the_explanation_replays_to_the_same_integers(scene: Scene) -> None:
    benefit_by_id = {each.promotion_id: each.benefit for each in scene.promotions}
    by_promotion: dict[str, list[Adjustment]] = {}
    for line in sorted(scene.priced().lines, key=lambda line: line.line_id):
        for adjustment in line.adjustments:
            by_promotion.setdefault(adjustment.promotion_id, []).append(adjustment)
    for promotion_id, adjustments in by_promotion.items():
        exact = [exact_amount(adjustment) for adjustment in adjustments]
        if isinstance(benefit_by_id[promotion_id], AmountOff):
            replayed = spread_again(exact)
        else:
            replayed = [round_half_away(each.numerator, denominator=each.denominator) for each in exact]
        assert replayed == [adjustment.amount_minor for adjustment in adjustments]


@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_lines_changes_no_line(scene: Scene, chance: Random) -> None:
    shuffled = list(scene.lines)
    chance.shuffle(shuffled)
    first, second = scene.priced(), scene._replace(lines=shuffled).priced()
    assert by_line_id(first) == by_line_id(second)
    assert [line.line_id for line in second.lines] == [line.line_id for line in shuffled]
    assert first.free_shipping == second.free_shipping


@given(scenes())
def test_a_lone_fixed_amount_takes_off_all_of_it_or_all_there_is(scene: Scene) -> None:
    amount = promotion("amount", AmountOff(scene.currency_code, 1_000))
    result = scene._replace(promotions=[amount]).priced()
    worth_minor = sum(line.subtotal_minor for line in result.lines)
    assert total_minor(result) == max(0, worth_minor - 1_000)


@given(scenes(), st.integers(1, 4), st.integers(1, 3))
def test_a_lone_gift_is_worth_the_cheapest_units_of_each_full_group(
    scene: Scene, buy: int, get: int
) -> None:
    result = scene._replace(promotions=[promotion("gift", BuyXGetY(buy, get))]).priced()
    units = sorted(
        (line.unit_price_minor for line in result.lines for _ in range(line.quantity)), reverse=True
    )
    full = len(units) // (buy + get) * (buy + get)
    gifts = sum(minor for place, minor in enumerate(units[:full]) if place % (buy + get) >= buy)
    assert total_minor(result) == sum(units) - gifts


@given(scenes(), st.data())
def test_the_coupons_in_effect_alone_make_the_same_prices(scene: Scene, data: st.DataObject) -> None:
    promotions = [
        replace(each, coupon_required=data.draw(st.booleans(), each.promotion_id))
        for each in scene.promotions
    ]
    coupons = [coupon(f"C-{each.promotion_id}", each.promotion_id) for each in promotions]
    scene = scene._replace(promotions=promotions)
    result = scene.priced(coupons)
    in_effect = [each for each in coupons if each.coupon_code in result.coupon_codes_in_effect]
    alone = scene.priced(in_effect)
    assert discounts_minor(alone) == discounts_minor(result)
    assert alone.free_shipping == result.free_shipping
    assert set(alone.coupon_codes_in_effect) == {each.coupon_code for each in in_effect}


def exact_amount(adjustment: Adjustment) -> Fraction:
    return Fraction(adjustment.exact_amount_minor or adjustment.amount_minor)


def spread_again(exact: list[Fraction]) -> list[int]:
    """Each line bears what its predecessors and it bear, rounded down, less what they bear."""
    shares, so_far, given_so_far = [], Fraction(0), 0
    for each in exact:
        so_far -= each
        shares.append(given_so_far - int(so_far))
        given_so_far = int(so_far)
    return shares


def by_line_id(result: PricedLines) -> dict[str, PricedLine]:
    return {line.line_id: line for line in result.lines}

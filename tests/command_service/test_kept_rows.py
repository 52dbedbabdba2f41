"""What is read again and again is made once: but what is kept must not grow with what a row holds."""

import json

import pytest

from command_service.catalog.domain import Sku
from command_service.catalog.repository import ATTRIBUTES_LENGTH_KEPT_MAX, SkuRepository
from command_service.pricing.domain import SkuPrices
from command_service.pricing.repository import ROWS_KEPT_MAX, SkuPricesRepository
from command_service.unit_of_work import Keys
from command_service.world import Mode

KEYS = Keys([("sku", Mode.READ)])


def sku(attributes_length: int) -> Sku | None:
    """The SKU of a row whose attributes are about as long."""
    attributes = json.dumps({"care": "x" * attributes_length})
    row = ("sku", 1, "product", "Teapot", attributes, None, None, None, None, True, 1, True)
    return SkuRepository().assemble(KEYS, [[row]])["sku"]


def prices(row_count: int) -> SkuPrices | None:
    """The prices of as many rows."""
    rows = [("sku", "list", quantity, 100, "digest") for quantity in range(1, row_count + 1)]
    return SkuPricesRepository().assemble(KEYS, [rows])["sku"]


def test_skus_are_made_once_unless_their_attributes_are_long() -> None:
    assert sku(10) is sku(10)
    assert sku(ATTRIBUTES_LENGTH_KEPT_MAX) is not sku(ATTRIBUTES_LENGTH_KEPT_MAX)
    assert sku(ATTRIBUTES_LENGTH_KEPT_MAX) == sku(ATTRIBUTES_LENGTH_KEPT_MAX)


@pytest.mark.parametrize("row_count", [1, ROWS_KEPT_MAX])
def test_prices_of_few_rows_are_made_once(row_count: int) -> None:
    assert prices(row_count) is prices(row_count)


def test_prices_of_many_rows_are_made_anew() -> None:
    assert prices(ROWS_KEPT_MAX + 1) is not prices(ROWS_KEPT_MAX + 1)
    assert prices(ROWS_KEPT_MAX + 1) == prices(ROWS_KEPT_MAX + 1)

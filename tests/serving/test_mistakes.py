"""How much of what is wrong with a request is told: enough to mend it, in limited time and space."""

import base64
from urllib.parse import quote

import pytest

from serving.failures import InvalidRequest
from serving.status import encode_failure
from serving.validation import ITEM_COUNT_MAX, parse_request
from shopkeeper.catalog.v1.catalog_command_service_pb2 import UpsertSkusRequest
from shopkeeper.catalog.v1.catalog_pb2 import Sku
from shopkeeper.inventory.v1.inventory_command_service_pb2 import ReceiveStockRequest, StockRow

TRAILER_BYTES_MAX = 8_192


def refused(request: UpsertSkusRequest | ReceiveStockRequest) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(request.SerializeToString(), type(request))
    return caught.value


def trailer_bytes(failure: InvalidRequest) -> int:
    """Of grpc-message, which is percent-encoded, and grpc-status-details-bin."""
    return len(quote(failure.message)) + len(base64.b64encode(encode_failure(failure)))


def test_every_mistake_of_a_small_request_is_told() -> None:
    failure = refused(ReceiveStockRequest(rows=[StockRow(), StockRow()]))
    assert {"request_id", "rows[0].sku_id", "rows[1].sku_id"} <= failure.description_by_field.keys()


def test_of_a_request_that_is_wrong_by_its_size_one_mistake_is_told() -> None:
    failure = refused(ReceiveStockRequest(rows=[StockRow()] * 1_000_000))
    assert len(failure.description_by_field) == 1
    failure = refused(ReceiveStockRequest(rows=[StockRow()] * (ITEM_COUNT_MAX + 1)))
    assert len(failure.description_by_field) == 1


@pytest.mark.parametrize("key", ["k" * 4_000, "\N{KITE}" * 4_000, "k" * 4_000 + "\0"])
def test_what_is_told_fits_into_trailers_whatever_the_paths(key: str) -> None:
    skus = [Sku(attributes={f"{n}{key}": ""}) for n in range(20)]
    failure = refused(UpsertSkusRequest(skus=skus))
    assert failure.description_by_field
    assert trailer_bytes(failure) < TRAILER_BYTES_MAX

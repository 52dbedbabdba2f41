"""Bad input of every kind: a clear answer that names the field, nothing written, nothing leaked."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ops.embedded import EmbeddedPostgres
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1.catalog_pb2 import Dimensions
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import OrderLineUnits
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1.pricing_pb2 import (
    AmountOff,
    BuyXGetY,
    PercentageOff,
    PriceList,
    Promotion,
)
from shopkeeper.types.v1.contact_pb2 import Contact, PostalAddress
from shopkeeper.types.v1.money_pb2 import Money
from tests.conftest import fresh_database
from tests.system.client import (
    Client,
    call_raw,
    new_id,
    place_request,
    reason_of,
    sku,
    status_of,
    wrong_fields,
)
from tests.system.conftest import CommandServices, paid_services
from tests.system.test_idempotency import (
    PATH_BY_REQUEST_TYPE,
    command_name,
    contents,
    paid_order,
    put,
    requests_of_every_kind,
    with_id,
)
from tests.system.variants import follow, path_of, places, varied

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUR_CODES = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"}
"""What a client may be at fault for. INTERNAL or UNKNOWN would be our fault."""

LEAKS = re.compile(
    r"Traceback|psycopg|SELECT |INSERT |UPDATE |File \"|Exception|asyncio|/[a-z]+/[a-z]+/", re.IGNORECASE
)

WRONG_TEXTS = {
    "a NUL": "a\0b",
    "nothing but a NUL": "\0",
    "far too long": "x" * 70_000,
    "a blank": " ",
    "200 emojis": "💥" * 200,
}
WRONG_INT32 = {"-1": -1, "0": 0, "the greatest": 2**31 - 1, "the least": -(2**31)}
WRONG_INT64 = {"-1": -1, "0": 0, "the greatest": 2**63 - 1, "the least": -(2**63)}
WRONG_ENUMS = {"0": 0, "99": 99, "-7": -7}
WRONG_VALUES: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: WRONG_TEXTS,
    FieldDescriptor.TYPE_INT32: WRONG_INT32,
    FieldDescriptor.TYPE_INT64: WRONG_INT64,
    FieldDescriptor.TYPE_ENUM: WRONG_ENUMS,
}

REFUSED_ANYWAY = {
    "TransferStock": "LOCATION_NOT_FOUND",
    "ExpireReservation": "RESERVATION_NOT_EXPIRED",
    "ExpireCart": "CART_NOT_EXPIRED",
    "ExpireOrder": "ORDER_NOT_EXPIRED",
}
"""Requests that are well-formed and yet refused, whatever else is wrong with them."""

NAMED_INSTEAD = {"RecordRefund.lines": "amount", "ReportProviderEvent.payment": "told"}
"""Where a field is missing that another could stand for."""

ALLOWED: dict[str, set[str]] = {
    # Ids are opaque and text is for people: a blank is as good as any, but for the name of money.
    "a blank": set(
        """
        AddCartLine.line_id AdjustStock.reference CancelOrder.reason CreateCart.cart_id
        CreateCart.customer_group CreateCart.customer_id
        PlaceOrder.contact.billing_address.administrative_area
        PlaceOrder.contact.billing_address.locality PlaceOrder.contact.billing_address.postal_code
        PlaceOrder.contact.billing_address.recipient PlaceOrder.contact.email
        PlaceOrder.contact.full_name PlaceOrder.contact.phone
        PlaceOrder.contact.shipping_address.administrative_area
        PlaceOrder.contact.shipping_address.locality PlaceOrder.contact.shipping_address.postal_code
        PlaceOrder.contact.shipping_address.recipient PlaceOrder.customer_id PlaceOrder.notes
        ReceiveStock.reference ReceiveStock.rows[0].location_id ReceiveStock.rows[0].sku_id
        ReportProviderEvent.payment.failure_code ReportProviderEvent.payment.payment_id
        ReportProviderEvent.payment.provider_reference ReportProviderEvent.provider
        RepriceCart.customer_id
        ReserveStock.reference ReserveStock.reservation_id ReturnStock.reference
        ReturnStock.rows[0].location_id ReturnStock.rows[0].sku_id SetStockPolicy.sku_id
        StartPayment.payment_method StartPayment.reader_id
        UpsertCoupons.coupons[0].promotion_id UpsertLocations.locations[0].location_id
        UpsertLocations.locations[0].title UpsertPriceLists.price_lists[0].customer_group
        UpsertPriceLists.price_lists[0].price_list_id UpsertPriceLists.price_lists[0].title
        UpsertPrices.rows[0].sku_id UpsertProducts.products[0].product_id
        UpsertProducts.products[0].title UpsertPromotions.promotions[0].promotion_id
        UpsertPromotions.promotions[0].title UpsertSkus.skus[0].product_id UpsertSkus.skus[0].sku_id
        UpsertSkus.skus[0].title
        """.split()
    ),
    # Characters are counted, not bytes.
    "200 emojis": set(
        """
        AdjustStock.reference CancelOrder.reason PlaceOrder.contact.billing_address.recipient
        PlaceOrder.contact.email PlaceOrder.contact.full_name
        PlaceOrder.contact.shipping_address.recipient PlaceOrder.notes ReceiveStock.reference
        RecordPayment.payment_reference RecordRefund.refund_reference
        ReportProviderEvent.payment.provider_reference ReserveStock.reference
        StartPayment.payment_method
        ReturnStock.reference UpsertLocations.locations[0].title UpsertPriceLists.price_lists[0].title
        UpsertProducts.products[0].title UpsertPromotions.promotions[0].title UpsertSkus.skus[0].title
        """.split()
    ),
    # Ranks, priorities and versions have no first one, times go back before 1970, used_count is output.
    "-1": set(
        """
        ApplyPriceWindow.list_version UpsertCoupons.coupons[0].used_count
        UpsertLocations.locations[0].rank UpsertPriceLists.price_lists[0].priority
        UpsertPriceLists.price_lists[0].start_time.seconds UpsertPromotions.promotions[0].priority
        UpsertPromotions.promotions[0].start_time.seconds
        """.split()
    ),
    # A limit may be as high as it likes; for the others see -1.
    "the greatest": set(
        """
        ApplyPriceWindow.list_version UpsertCoupons.coupons[0].usage_limit
        UpsertCoupons.coupons[0].usage_limit_per_customer UpsertCoupons.coupons[0].used_count
        UpsertLocations.locations[0].rank UpsertPriceLists.price_lists[0].priority
        UpsertPromotions.promotions[0].priority
        """.split()
    ),
    # See -1.
    "the least": set(
        """
        ApplyPriceWindow.list_version UpsertCoupons.coupons[0].used_count
        UpsertLocations.locations[0].rank UpsertPriceLists.price_lists[0].priority
        UpsertPromotions.promotions[0].priority
        """.split()
    ),
    # What is absent has a meaning of its own: all, none, unknown, or the setting of the service.
    "missing": set(
        """
        ApplyPriceWindow.sku_ids FulfillOrderLines.lines PlaceOrder.contact
        PlaceOrder.contact.billing_address PlaceOrder.contact.billing_address.address_lines
        PlaceOrder.contact.shipping_address PlaceOrder.contact.shipping_address.address_lines
        PlaceOrder.hold_duration RefundPayment.amount ReportProviderEvent.payment.other_names
        UpsertPriceLists.price_lists[0].end_time
        UpsertPriceLists.price_lists[0].start_time UpsertPrices.rows[0].tiers
        UpsertPromotions.promotions[0].end_time UpsertPromotions.promotions[0].minimum_subtotal
        UpsertPromotions.promotions[0].sku_ids UpsertPromotions.promotions[0].start_time
        UpsertSkus.skus[0].dimensions
        """.split()
    ),
    # No units, nothing kept back, no price: each is true of some shop.
    "0": set(
        """
        AdjustStock.counted_quantity ReportProviderEvent.payment.captured_minor
        SetCartLineQuantity.quantity SetStockPolicy.backorder_limit
        SetStockPolicy.safety_stock UpsertLocations.locations[0].rank
        UpsertPriceLists.price_lists[0].start_time.seconds
        UpsertPrices.rows[0].tiers[0].unit_price_minor
        UpsertPromotions.promotions[0].minimum_subtotal.amount_minor
        UpsertPromotions.promotions[0].start_time.seconds
        """.split()
    ),
}


class Spoiled(NamedTuple):
    """A request that is wrong in one field; the field's path, and what is wrong with it."""

    path: str
    wrong: str
    request: Message

    @property
    def place(self) -> str:
        """The request, and the field in it."""
        return f"{command_name(self.request)}.{self.path}"

    def __str__(self) -> str:
        return f"{self.place}: {self.wrong}"


def spoiled(request: Message) -> Iterator[Spoiled]:
    """Copies of the request, each wrong in one field at any depth."""
    for steps in places(request):
        for field in follow(request, steps).DESCRIPTOR.fields:
            if steps or field.name not in ("request_id", "validate_only"):
                for wrong, change in spoilings(follow(request, steps), field):
                    copy = varied(request, steps, change)
                    yield Spoiled(path_of(steps, field.name), wrong, copy)


def spoilings(message: Message, field: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Ways to make a field of a message wrong, those aside that would leave it as it is."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield "a NUL as a key", lambda m: getattr(m, field.name).update({"\0": "x"})
        return
    if field.message_type is None and not field.is_repeated:
        for wrong, value in WRONG_VALUES.get(field.type, {}).items():
            if getattr(message, field.name) != value:
                yield wrong, partial(put, field.name, value)
        return
    if not (getattr(message, field.name) if field.is_repeated else message.HasField(field.name)):
        return
    yield "missing", lambda m: m.ClearField(field.name)
    if field.is_repeated:
        yield "too many", lambda m: getattr(m, field.name).extend(list(getattr(m, field.name)) * 1200)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[CommandServices]:
    """One for all tests, since what is refused changes nothing."""
    with fresh_database(postgres, migrated_template) as url:
        async with paid_services(url, 1) as services, services.client() as client:
            await client.open_shop(["sku", "other"], 1000)
            await client.add_coupon("TEN")
            yield services


async def error_of(client: Client, request: Message) -> grpc.aio.AioRpcError | None:
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    try:
        await call_raw(client, path, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        return error
    return None


def traces(shop: CommandServices, request_ids: list[str]) -> tuple[set[str], int]:
    """Which of the requests have left an answer, and how many events all of them have."""
    answers = shop.fetch(
        "SELECT request_id::text FROM requests WHERE request_id = ANY(%s::uuid[])", request_ids
    )
    [(events,)] = shop.fetch(
        "SELECT count(*) FROM events WHERE request_id = ANY(%s::uuid[])", request_ids
    )
    return {str(row[0]) for row in answers}, int(str(events))


def assert_clear(error: grpc.aio.AioRpcError, context: object) -> None:
    assert error.code().name in OUR_CODES, (error, context)
    assert error.details(), context
    assert not LEAKS.search(error.details() or ""), (error.details(), context)
    assert status_of(error).details, context


async def requests_with_everything(client: Client) -> list[Message]:
    """Requests whose every part is filled in, where those of every kind leave parts out."""
    address = PostalAddress(
        recipient="A",
        address_lines=["1 Road"],
        locality="Town",
        administrative_area="County",
        postal_code="N1",
        region_code="GB",
    )
    contact = Contact(
        email="a@b", full_name="A", phone="1", shipping_address=address, billing_address=address
    )
    begin, end = Timestamp(seconds=1_700_000_000), Timestamp(seconds=1_800_000_000)
    detailed = sku("detailed")
    detailed.weight_grams = 5
    detailed.dimensions.CopyFrom(Dimensions(length_mm=1, width_mm=2, height_mm=3))
    detailed.attributes["colour"] = "red"
    amount = Money(currency_code="GBP", amount_minor=5)
    promotions = [
        Promotion(buy_x_get_y=BuyXGetY(buy_quantity=2, get_quantity=1), start_time=begin, end_time=end),
        Promotion(amount_off=AmountOff(amount=amount), minimum_subtotal=amount, sku_ids=["sku"]),
        Promotion(percentage_off=PercentageOff(basis_points=1)),
    ]
    for promotion in promotions:
        promotion.promotion_id = promotion.title = "filled"
    units = [OrderLineUnits(line_id="sku", quantity=1)]
    return [
        place_request(
            await client.fill_cart({"sku": 1}),
            contact=contact,
            notes="ring twice",
            hold_duration=Duration(seconds=60),
        ),
        catalog_pb.UpsertSkusRequest(skus=[detailed]),
        pricing_pb.UpsertPriceListsRequest(
            price_lists=[
                PriceList(price_list_id="filled", currency_code="GBP", start_time=begin, end_time=end)
            ]
        ),
        *(pricing_pb.UpsertPromotionsRequest(promotions=[promotion]) for promotion in promotions),
        ordering_pb.RecordRefundRequest(
            order_id=await paid_order(client), refund_reference=new_id(), lines=units
        ),
        ordering_pb.FulfillOrderLinesRequest(order_id=await paid_order(client), lines=units),
    ]


@pytest.mark.parametrize("request_id", ["", "1", "not-a-uuid", "\0" * 36, "x" * 36])
async def test_every_command_needs_a_uuid_as_its_request_id(
    shop: CommandServices, request_id: str
) -> None:
    async with shop.client() as client:
        requests = await requests_of_every_kind(client)
        before = contents(shop.database_url)
        for request in requests:
            error = await error_of(client, with_id(request, request_id))
            assert error is not None
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "request_id" in wrong_fields(error)
        assert contents(shop.database_url) == before


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff",
        b"\x0a\x05ab",
        b"\x1a\x03\xed\xa0\x80",  # field 3 is text: a lone surrogate is not UTF-8
        b"\x00",
    ],
)
async def test_bytes_that_are_no_message_are_refused(shop: CommandServices, body: bytes) -> None:
    async with shop.client() as client:
        before = contents(shop.database_url)
        for path in PATH_BY_REQUEST_TYPE.values():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call_raw(client, path, body)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, path
            assert_clear(refused.value, path)
        assert contents(shop.database_url) == before


async def test_a_message_over_4_mib_is_refused_by_name(shop: CommandServices) -> None:
    async with shop.client() as client:
        before = contents(shop.database_url)
        body = b"\x1a\xc0\x96\xb1\x02" + b"x" * 5_000_000
        for path in PATH_BY_REQUEST_TYPE.values():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call_raw(client, path, body)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, path
            assert wrong_fields(refused.value) == {"request"}
        assert contents(shop.database_url) == before


async def test_an_unknown_method_is_unimplemented(shop: CommandServices) -> None:
    async with shop.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call_raw(client, "/shopkeeper.cart.v1.CartCommandService/Nothing", b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_that_is_wrong_in_any_one_field_is_answered_clearly(
    shop: CommandServices,
) -> None:
    """What is accepted all the same is listed: a field that forgot its rules is missed.

    First each is rehearsed: what one of them changed would change what becomes of the next. This
    test is the last, since in the end they do change the shop.
    """
    async with shop.client() as client:
        requests = await requests_of_every_kind(client) + await requests_with_everything(client)
        assert await reasons_of_refusals(client, requests) == REFUSED_ANYWAY
        accepted: list[Spoiled] = []
        refused: list[Spoiled] = []
        for wrong in (each for request in requests for each in spoiled(request)):
            error = await error_of(client, with_id(wrong.request, new_id(), validate_only=True))
            (refused if error else accepted).append(wrong)
        assert places_by_wrong(accepted) == ALLOWED
        await assert_refused_without_a_trace(shop, client, refused)
        for wrong in accepted:
            error = await error_of(client, with_id(wrong.request, new_id()))
            if error is not None:
                assert_clear(error, wrong)
    assert shop.broken_invariants() == {}


async def reasons_of_refusals(client: Client, requests: list[Message]) -> dict[str, str]:
    """Of those requests that the domain refuses as they are: why."""
    found = {}
    for request in requests:
        error = await error_of(client, with_id(request, new_id(), validate_only=True))
        if error is not None:
            found[command_name(request)] = reason_of(error)
    return found


def places_by_wrong(cases: list[Spoiled]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for case in cases:
        found.setdefault(case.wrong, set()).add(case.place)
    return found


async def assert_refused_without_a_trace(
    shop: CommandServices, client: Client, cases: list[Spoiled]
) -> None:
    """Each names its field, if that is what is wrong; what was decided is kept as an answer, no more."""
    invalid, decided = [], []
    for wrong in cases:
        error = await error_of(client, with_id(wrong.request, request_id := new_id()))
        assert error is not None, wrong
        assert_clear(error, wrong)
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            invalid.append(request_id)
            root = re.split(r"[.\[]", wrong.path)[0]
            others = NAMED_INSTEAD.get(wrong.place, root)
            assert any(name.startswith((root, others)) for name in wrong_fields(error)), wrong
        else:
            decided.append(request_id)
    assert traces(shop, invalid) == (set(), 0)
    assert traces(shop, decided) == (set(decided), 0)

"""Every command happens once: sent twice at once to two processes, again later, and rehearsed."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from command_service.server import SERVICES
from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_PAUSED, Product
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1.inventory_pb2 import Location, ReservationLine
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import OrderLineUnits
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_ON_COMMAND,
    CaptureMode,
    Payment,
)
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1.pricing_pb2 import Coupon, FreeShipping, PriceList, PriceTier, Promotion
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import (
    LOCATION,
    PRICE_LIST,
    Client,
    call_raw,
    new_id,
    place_request,
    reason_of,
    retry_seconds,
    sku,
)
from tests.system.conftest import CommandServices
from tests.system.variants import follow, places, varied

HOUR = Duration(seconds=3600)

# What the service makes up anew each time: a rehearsal cannot foretell it.
MADE_UP = {"order_id", "order_number", "consistency_token"}

# They call a provider after their decision: a repetition takes up what is left of that, and a rehearsal
# tells only what would be decided. See tests of their own.
DRIVEN = {"StartPayment", "CapturePayment", "VoidPayment", "RefundPayment"}


async def open_cart(client: Client) -> cart_pb.AddCartLineRequest:
    cart = await client.fill_cart({})
    return cart_pb.AddCartLineRequest(cart_id=cart.cart_id, sku_id="sku", quantity=2)


async def cart_with_line(client: Client) -> str:
    return (await client.fill_cart({"sku": 2})).cart_id


async def paid_order(client: Client) -> str:
    order = await client.place(await client.fill_cart({"sku": 2}))
    await client.pay(order)
    return order.order_id


async def unpaid_order(client: Client) -> str:
    return (await client.place(await client.fill_cart({"sku": 2}))).order_id


async def shipped_order(client: Client) -> str:
    order_id = await paid_order(client)
    request = ordering_pb.FulfillOrderLinesRequest(request_id=new_id(), order_id=order_id)
    await client.ordering.FulfillOrderLines(request, timeout=20)
    return order_id


async def reservation(client: Client, *, committed: bool = False) -> str:
    request = reserve_request(new_id())
    request.request_id = new_id()
    await client.inventory.ReserveStock(request, timeout=20)
    if committed:
        commit = inventory_pb.CommitReservationRequest(
            request_id=new_id(), reservation_id=request.reservation_id
        )
        await client.inventory.CommitReservation(commit, timeout=20)
    return request.reservation_id


def reserve_request(reservation_id: str) -> inventory_pb.ReserveStockRequest:
    return inventory_pb.ReserveStockRequest(
        reservation_id=reservation_id,
        reference="auction 1",
        lines=[ReservationLine(sku_id="sku", quantity=1)],
        hold_duration=HOUR,
    )


async def authorized(client: Client) -> Payment:
    """A payment of an unpaid order that is only captured when somebody says so."""
    return await started(client, CAPTURE_MODE_ON_COMMAND)


async def captured(client: Client) -> Payment:
    """The payment of a paid order."""
    return await started(client, CAPTURE_MODE_AT_ONCE)


async def started(client: Client, capture_mode: CaptureMode.ValueType) -> Payment:
    """A payment with a card that is at hand."""
    request = payment_pb.StartPaymentRequest(
        request_id=new_id(),
        order_id=await unpaid_order(client),
        provider="stripe",
        capture_mode=capture_mode,
        payment_method="pm_card_visa",
    )
    return (await client.payment.StartPayment(request, timeout=30)).payment


def provider_event(payment: Payment) -> payment_pb.ReportProviderEventRequest:
    """The provider tells that the payment was captured."""
    return payment_pb.ReportProviderEventRequest(
        provider="stripe",
        payment=payment_pb.ProviderPayment(
            payment_id=payment.payment_id,
            provider_reference=payment.provider_reference,
            state=payment_pb.PROVIDER_PAYMENT_STATE_CAPTURED,
            currency_code=payment.currency_code,
            captured_minor=payment.amount_minor,
            other_names=["TAAA1"],
        ),
    )


async def requests_of_every_kind(client: Client) -> list[Message]:
    """A request for each RPC that succeeds, or is refused by the domain, in the shop as it is."""
    stock_row = inventory_pb.StockRow(sku_id="sku", location_id=LOCATION, quantity=3)
    tier = PriceTier(min_quantity=1, unit_price_minor=99)
    gift = Promotion(promotion_id="gift", title="Gift", free_shipping=FreeShipping(), active=True)
    with_coupon = await client.fill_cart({"sku": 1}, coupon="TEN")
    amount = Money(currency_code="GBP", amount_minor=100)
    return [
        catalog_pb.UpsertProductsRequest(products=[Product(product_id="new", title="New", active=True)]),
        catalog_pb.UpsertSkusRequest(skus=[sku("new")]),
        catalog_pb.SetSaleStateRequest(sku_id="other", sale_state=SALE_STATE_PAUSED),
        pricing_pb.UpsertPriceListsRequest(
            price_lists=[PriceList(price_list_id="trade", currency_code="GBP", title="Trade")]
        ),
        pricing_pb.UpsertPricesRequest(
            price_list_id=PRICE_LIST, rows=[pricing_pb.PriceRow(sku_id="new", tiers=[tier])]
        ),
        pricing_pb.UpsertPromotionsRequest(promotions=[gift]),
        pricing_pb.UpsertCouponsRequest(
            coupons=[Coupon(coupon_code="FIVE", promotion_id="promo-TEN", active=True)]
        ),
        pricing_pb.ApplyPriceWindowRequest(price_list_id=PRICE_LIST, sku_ids=["sku"]),
        pricing_pb.ApplyPromotionWindowRequest(promotion_id="promo-TEN"),
        inventory_pb.UpsertLocationsRequest(
            locations=[Location(location_id="annex", title="Annex", rank=2, active=True)]
        ),
        inventory_pb.ReceiveStockRequest(rows=[stock_row]),
        inventory_pb.AdjustStockRequest(
            sku_id="other", location_id=LOCATION, counted_quantity=5, expected_on_hand=1000
        ),
        inventory_pb.TransferStockRequest(
            sku_id="sku", from_location_id=LOCATION, to_location_id="annex", quantity=1
        ),
        inventory_pb.SetStockPolicyRequest(
            sku_id="sku", location_id=LOCATION, safety_stock=1, backorder_limit=2
        ),
        reserve_request(new_id()),
        inventory_pb.ExtendReservationRequest(
            reservation_id=await reservation(client), hold_duration=HOUR
        ),
        inventory_pb.ReleaseReservationRequest(reservation_id=await reservation(client)),
        inventory_pb.CommitReservationRequest(reservation_id=await reservation(client)),
        inventory_pb.ShipReservationRequest(reservation_id=await reservation(client, committed=True)),
        inventory_pb.ReturnStockRequest(rows=[stock_row]),
        inventory_pb.ExpireReservationRequest(reservation_id=await reservation(client)),
        inventory_pb.RepairStockRequest(sku_id="sku"),
        cart_pb.CreateCartRequest(cart_id=new_id(), currency_code="GBP"),
        await open_cart(client),
        cart_pb.SetCartLineQuantityRequest(
            cart_id=await cart_with_line(client), line_id="sku", quantity=5
        ),
        cart_pb.RemoveCartLineRequest(cart_id=await cart_with_line(client), line_id="sku"),
        cart_pb.ApplyCouponRequest(cart_id=await cart_with_line(client), coupon_code="TEN"),
        cart_pb.RemoveCouponRequest(cart_id=with_coupon.cart_id, coupon_code="TEN"),
        cart_pb.MergeCartsRequest(
            from_cart_id=await cart_with_line(client), into_cart_id=await cart_with_line(client)
        ),
        cart_pb.RepriceCartRequest(cart_id=await cart_with_line(client), customer_id="c1"),
        cart_pb.ExpireCartRequest(cart_id=await cart_with_line(client)),
        place_request(await client.fill_cart({"sku": 1})),
        ordering_pb.RecordPaymentRequest(
            order_id=await unpaid_order(client), payment_reference=new_id(), amount=amount
        ),
        ordering_pb.RecordRefundRequest(
            order_id=await paid_order(client), refund_reference=new_id(), amount=amount
        ),
        ordering_pb.CancelOrderRequest(order_id=await paid_order(client), reason="changed my mind"),
        ordering_pb.CancelOrderLinesRequest(
            order_id=await paid_order(client),
            lines=[OrderLineUnits(line_id="sku", quantity=1)],
        ),
        ordering_pb.FulfillOrderLinesRequest(order_id=await paid_order(client)),
        ordering_pb.ReturnOrderLinesRequest(
            order_id=await shipped_order(client),
            lines=[ordering_pb.ReturnedUnits(line_id="sku", quantity=1, restock=True)],
        ),
        ordering_pb.ExtendOrderHoldRequest(order_id=await unpaid_order(client), hold_duration=HOUR),
        ordering_pb.ExpireOrderRequest(order_id=await unpaid_order(client)),
        payment_pb.StartPaymentRequest(order_id=await unpaid_order(client), provider="stripe"),
        payment_pb.CapturePaymentRequest(payment_id=(await authorized(client)).payment_id),
        payment_pb.VoidPaymentRequest(payment_id=(await authorized(client)).payment_id),
        payment_pb.RefundPaymentRequest(order_id=(await captured(client)).order_id, amount=amount),
        provider_event(await authorized(client)),
    ]


def command_name(request: Message) -> str:
    return request.DESCRIPTOR.name.removesuffix("Request")


def methods() -> Iterator[tuple[str, type[Message], type[Message]]]:
    """Every command RPC: its path, request type and response type."""
    for service_name in SERVICES:
        service = Default().FindServiceByName(service_name)
        for method in service.methods:
            types = (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
            yield f"/{service_name}/{method.name}", *types


PATH_BY_REQUEST_TYPE = {request.DESCRIPTOR.full_name: path for path, request, _ in methods()}
RESPONSE_TYPE_BY_PATH = {path: response for path, _, response in methods()}


async def call(client: Client, request: Message) -> tuple[int, bytes]:
    """The answer as raw bytes: code 0 and the response, or the code and the status details."""
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    try:
        response = await call_raw(client, path, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        metadata = dict(error.trailing_metadata() or ())
        if command_name(request) in DRIVEN and error.code() is grpc.StatusCode.UNAVAILABLE:
            # Another process is asking the provider: the same request again, as every client does.
            await asyncio.sleep(retry_seconds(error))
            return await call(client, request)
        assert metadata.get("x-consistency-token"), f"{path}: a refusal carries a token"
        return error.code().value[0], bytes(metadata["grpc-status-details-bin"])
    return 0, bytes(response)


def contents(database_url: str) -> dict[str, str]:
    """A checksum of every table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        checksum = "SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} t"
        rows = {name: connection.execute(checksum.format(name).encode()) for (name,) in names}
        return {name: str(cursor.fetchone()) for name, cursor in rows.items()}


def masked(message: Message) -> str:
    """The message as text, without what is made up anew each time and without times."""
    for field, value in message.ListFields():
        if field.name in MADE_UP or field.name.endswith("_time"):
            message.ClearField(field.name)
        elif field.message_type is not None and field.is_repeated:
            for item in value if not field.message_type.GetOptions().map_entry else ():
                masked(item)
        elif field.message_type is not None:
            masked(value)
    return str(message)


@pytest.fixture
async def shop(two_paid_services: CommandServices) -> CommandServices:
    async with two_paid_services.client() as client:
        await client.open_shop(["sku", "other"], 1000)
        await client.add_coupon("TEN")
    return two_paid_services


async def test_every_command_sent_twice_at_once_and_again_later_has_one_effect_and_one_answer(
    shop: CommandServices,
) -> None:
    async with shop.client(0) as here, shop.client(1) as there:
        requests = await requests_of_every_kind(here)
        assert {request.DESCRIPTOR.full_name for request in requests} == set(PATH_BY_REQUEST_TYPE)
        for request in requests:
            with_id(request, new_id())
            before = shop.fetch("SELECT count(*) FROM requests")[0][0]
            answers = await asyncio.gather(*(call(c, request) for c in (here, there, here, there)))
            after_once = contents(shop.database_url)
            answers.append(await call(there, request))
            if command_name(request) in DRIVEN:
                # How far the provider has come meanwhile: of one and the same payment, or refund.
                assert len({subjects(request, *answer) for answer in answers}) == 1, request
                continue
            assert len(set(answers)) == 1, request
            assert contents(shop.database_url) == after_once, request
            assert shop.fetch("SELECT count(*) FROM requests")[0][0] == before + 1, request  # type: ignore[operator]
    assert shop.broken_invariants() == {}


async def test_the_same_id_with_another_method_is_refused(shop: CommandServices) -> None:
    async with shop.client(0) as here, shop.client(1) as there:
        requests = await requests_of_every_kind(here)
        request_id = new_id()
        await call(here, with_id(requests[0], request_id))
        unchanged = contents(shop.database_url)
        for request in requests[1:]:
            for client in (here, there):
                assert await reason_for(client, with_id(request, request_id)) == "REQUEST_ID_REUSED"
        assert contents(shop.database_url) == unchanged


async def test_the_same_id_with_another_payload_is_refused(shop: CommandServices) -> None:
    """Whichever field it is that differs, as long as the payload is one at all."""
    async with shop.client(0) as here, shop.client(1) as there:
        for request in await requests_of_every_kind(here):
            await call(here, with_id(request, new_id()))
            unchanged = contents(shop.database_url)
            reasons = [await reason_for(there, other) for other in others_by_one_field(request)]
            assert "REQUEST_ID_REUSED" in reasons, request
            assert set(reasons) <= {"REQUEST_ID_REUSED", "INVALID_REQUEST", "INVALID_FIELD"}, request
            assert contents(shop.database_url) == unchanged, request


async def reason_for(client: Client, request: Message) -> str:
    """What the request is refused with; empty if it is not."""
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    try:
        await call_raw(client, path, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


def others_by_one_field(request: Message) -> Iterator[Message]:
    """Copies of the request, each with another value in one of the fields that it has, at any depth."""
    for steps in places(request):
        for field, value in follow(request, steps).ListFields():
            is_value = field.message_type is None and not field.is_repeated
            if is_value and field.name not in ("request_id", "validate_only"):
                yield varied(request, steps, partial(put, field.name, another(value)))


def another(value: Any) -> Any:
    if isinstance(value, str):
        return f"{value}x"
    return not value if isinstance(value, bool) else value + 1


def put(name: str, value: Any, message: Message) -> None:
    setattr(message, name, value)


async def test_validate_only_changes_nothing_and_predicts_the_real_answer(
    shop: CommandServices,
) -> None:
    async with shop.client() as client:
        for request in await requests_of_every_kind(client):
            untouched = contents(shop.database_url)
            rehearsed = await call(client, with_id(request, request_id := new_id(), validate_only=True))
            assert contents(shop.database_url) == untouched, request
            # The rehearsal claimed no id: the real command may have the same one.
            real = await call(client, with_id(request, request_id))
            if command_name(request) in DRIVEN:
                assert (rehearsed[0], real[0]) == (0, 0), request
                continue
            assert readable(request, *rehearsed) == readable(request, *real)


def with_id(request: Any, request_id: str, *, validate_only: bool = False) -> Any:
    request.request_id = request_id
    request.validate_only = validate_only
    return request


def subjects(request: Message, code: int, body: bytes) -> tuple[str, ...]:
    """The ids of what a driven command is about: of its one payment, or of its refunds."""
    assert code == 0, (request, body)
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    answer: Any = RESPONSE_TYPE_BY_PATH[path].FromString(body)
    if isinstance(answer, payment_pb.RefundPaymentResponse):
        return tuple(refund.refund_id for refund in answer.refunds)
    return (answer.payment.payment_id,)


def readable(request: Message, code: int, body: bytes) -> str:
    if code:
        return f"{code} {body!r}"
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    return masked(RESPONSE_TYPE_BY_PATH[path].FromString(body))


async def test_a_response_tells_its_token_in_the_message_and_in_the_metadata(
    shop: CommandServices,
) -> None:
    async with shop.client() as client:
        call_ = client.cart.CreateCart(
            cart_pb.CreateCartRequest(request_id=new_id(), cart_id=new_id(), currency_code="GBP"),
            timeout=20,
        )
        response = await call_
        metadata = dict(await call_.trailing_metadata())
    [(position,)] = shop.fetch("SELECT max(position) FROM events")
    assert response.consistency_token == metadata["x-consistency-token"]
    assert response.consistency_token.endswith(f".{position}")

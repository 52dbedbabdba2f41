"""A client of the public API, as another team would write one, for tests over real sockets."""

from typing import Any, Self
from uuid import uuid4

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_command_service_pb2_grpc as cart_grpc
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1 import catalog_command_service_pb2_grpc as catalog_grpc
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_ON_SALE, Product, Sku
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_command_service_pb2_grpc as inventory_grpc
from shopkeeper.inventory.v1.inventory_pb2 import Location, ReservationLine
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1 import ordering_command_service_pb2_grpc as ordering_grpc
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1 import payment_command_service_pb2_grpc as payment_grpc
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1 import pricing_command_service_pb2_grpc as pricing_grpc
from shopkeeper.pricing.v1.pricing_pb2 import (
    Coupon,
    PercentageOff,
    PriceList,
    PriceTier,
    Promotion,
)
from shopkeeper.types.v1.money_pb2 import Money

DEADLINE_SECONDS = 20
LOCATION = "main"
PRICE_LIST = "retail"
PRICE_MINOR = 250

CONNECTION_OF_ITS_OWN = (("grpc.use_local_subchannel_pool", 1),)
"""Otherwise gRPC shares connections between channels, and so the process behind them."""


def new_id() -> str:
    return str(uuid4())


class Client:
    """All command services of one process, on a connection of its own."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=CONNECTION_OF_ITS_OWN)
        self.catalog = catalog_grpc.CatalogCommandServiceStub(self.channel)
        self.pricing = pricing_grpc.PricingCommandServiceStub(self.channel)
        self.inventory = inventory_grpc.InventoryCommandServiceStub(self.channel)
        self.cart = cart_grpc.CartCommandServiceStub(self.channel)
        self.ordering = ordering_grpc.OrderingCommandServiceStub(self.channel)
        self.payment = payment_grpc.PaymentCommandServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.channel.close()

    async def open_shop(self, sku_ids: list[str], quantity: int) -> None:
        """Makes products, prices and stock: `quantity` units of each SKU at 2.50 GBP."""
        timeout = DEADLINE_SECONDS
        await self.catalog.UpsertProducts(
            catalog_pb.UpsertProductsRequest(
                request_id=new_id(), products=[Product(product_id="p", title="Things", active=True)]
            ),
            timeout=timeout,
        )
        await self.catalog.UpsertSkus(
            catalog_pb.UpsertSkusRequest(request_id=new_id(), skus=[sku(name) for name in sku_ids]),
            timeout=timeout,
        )
        retail = PriceList(price_list_id=PRICE_LIST, title="Retail", currency_code="GBP")
        await self.pricing.UpsertPriceLists(
            pricing_pb.UpsertPriceListsRequest(request_id=new_id(), price_lists=[retail]),
            timeout=timeout,
        )
        await self.pricing.UpsertPrices(
            pricing_pb.UpsertPricesRequest(
                request_id=new_id(),
                price_list_id=PRICE_LIST,
                rows=[
                    pricing_pb.PriceRow(
                        sku_id=name, tiers=[PriceTier(min_quantity=1, unit_price_minor=PRICE_MINOR)]
                    )
                    for name in sku_ids
                ],
            ),
            timeout=timeout,
        )
        await self.inventory.UpsertLocations(
            inventory_pb.UpsertLocationsRequest(
                request_id=new_id(),
                locations=[Location(location_id=LOCATION, title="Main", active=True)],
            ),
            timeout=timeout,
        )
        if quantity:
            await self.receive(dict.fromkeys(sku_ids, quantity))

    async def receive(self, quantity_by_sku: dict[str, int]) -> None:
        rows = [
            inventory_pb.StockRow(sku_id=name, location_id=LOCATION, quantity=quantity)
            for name, quantity in quantity_by_sku.items()
        ]
        request = inventory_pb.ReceiveStockRequest(request_id=new_id(), rows=rows)
        await self.inventory.ReceiveStock(request, timeout=DEADLINE_SECONDS)

    async def reserve(self, quantity_by_sku: dict[str, int]) -> None:
        """Holds units for an hour, for nobody in particular."""
        request = inventory_pb.ReserveStockRequest(
            request_id=new_id(),
            reservation_id=new_id(),
            reference="auction",
            lines=[ReservationLine(sku_id=s, quantity=q) for s, q in quantity_by_sku.items()],
            hold_duration=Duration(seconds=3600),
        )
        await self.inventory.ReserveStock(request, timeout=DEADLINE_SECONDS)

    async def add_promotion(self, promotion_id: str) -> None:
        """10 % off, for who has a coupon."""
        promotion = Promotion(
            promotion_id=promotion_id,
            title="Ten off",
            percentage_off=PercentageOff(basis_points=1000),
            coupon_required=True,
            active=True,
        )
        await self.pricing.UpsertPromotions(
            pricing_pb.UpsertPromotionsRequest(request_id=new_id(), promotions=[promotion]),
            timeout=DEADLINE_SECONDS,
        )

    async def add_coupon(self, code: str, *, usage_limit: int | None = None) -> None:
        """A coupon of 10 % off."""
        await self.add_promotion(f"promo-{code}")
        coupon = Coupon(
            coupon_code=code, promotion_id=f"promo-{code}", usage_limit=usage_limit, active=True
        )
        await self.pricing.UpsertCoupons(
            pricing_pb.UpsertCouponsRequest(request_id=new_id(), coupons=[coupon]),
            timeout=DEADLINE_SECONDS,
        )

    async def fill_cart(
        self, quantity_by_sku: dict[str, int], *, cart_id: str | None = None, coupon: str = ""
    ) -> Cart:
        cart_id = cart_id or new_id()
        created = await self.cart.CreateCart(
            cart_pb.CreateCartRequest(request_id=new_id(), cart_id=cart_id, currency_code="GBP"),
            timeout=DEADLINE_SECONDS,
        )
        cart = created.cart
        for name, quantity in quantity_by_sku.items():
            cart = await self.add_line(cart_id, name, quantity)
        if coupon:
            applied = await self.cart.ApplyCoupon(
                cart_pb.ApplyCouponRequest(request_id=new_id(), cart_id=cart_id, coupon_code=coupon),
                timeout=DEADLINE_SECONDS,
            )
            cart = applied.cart
        return cart

    async def add_line(self, cart_id: str, sku_id: str, quantity: int, line_id: str = "") -> Cart:
        request = cart_pb.AddCartLineRequest(
            request_id=new_id(), cart_id=cart_id, sku_id=sku_id, quantity=quantity, line_id=line_id
        )
        return (await self.cart.AddCartLine(request, timeout=DEADLINE_SECONDS)).cart

    async def place(self, cart: Cart, **fields: Any) -> Order:
        response = await self.ordering.PlaceOrder(
            place_request(cart, **fields), timeout=DEADLINE_SECONDS
        )
        return response.order

    async def pay(self, order: Order, reference: str = "") -> ordering_pb.RecordPaymentResponse:
        request = ordering_pb.RecordPaymentRequest(
            request_id=new_id(),
            order_id=order.order_id,
            payment_reference=reference or new_id(),
            amount=Money(currency_code="GBP", amount_minor=order.total.amount_minor),
        )
        return await self.ordering.RecordPayment(request, timeout=DEADLINE_SECONDS)


async def call_raw(client: Client, path: str, body: bytes) -> bytes:
    """Sends bytes as they are, whatever they are, and returns the bytes of the answer."""
    call: Any = client.channel.unary_unary(path)
    return bytes(await call(body, timeout=DEADLINE_SECONDS))


def sku(sku_id: str) -> Sku:
    return Sku(
        sku_id=sku_id,
        product_id="p",
        title=f"Thing {sku_id}",
        active=True,
        sale_state=SALE_STATE_ON_SALE,
    )


def place_request(cart: Cart, **fields: Any) -> ordering_pb.PlaceOrderRequest:
    return ordering_pb.PlaceOrderRequest(
        request_id=fields.pop("request_id", None) or new_id(),
        cart_id=cart.cart_id,
        etag=cart.etag,
        expected_total=cart.total,
        **fields,
    )


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's reason: what a client decides by."""
    return str(error_info(error).reason)


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    info = ErrorInfo()
    assert any(detail.Unpack(info) for detail in status_of(error).details), error.details()
    return info


def wrong_fields(error: grpc.aio.AioRpcError) -> set[str]:
    bad_request = BadRequest()
    assert any(detail.Unpack(bad_request) for detail in status_of(error).details), error.details()
    return {violation.field for violation in bad_request.field_violations}


def retry_seconds(error: grpc.aio.AioRpcError) -> float:
    """The RetryInfo's delay: when the same request may be sent again."""
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_of(error).details), error.details()
    return float(retry.retry_delay.ToTimedelta().total_seconds())


def status_of(error: grpc.aio.AioRpcError) -> Status:
    metadata = dict(error.trailing_metadata() or ())
    return Status.FromString(metadata["grpc-status-details-bin"])

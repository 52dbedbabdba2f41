"""CartCommandService: requests to commands, carts to responses."""

from datetime import timedelta

from command_service.cart.commands import ExpireCart
from command_service.cart.domain import Cart
from command_service.checkout.add_cart_line import AddCartLine
from command_service.checkout.apply_coupon import ApplyCoupon, RemoveCoupon
from command_service.checkout.create_cart import CreateCart
from command_service.checkout.merge_carts import MergeCarts, MergedCarts
from command_service.checkout.reprice_cart import RepriceCart
from command_service.checkout.set_cart_line_quantity import SetCartLineQuantity
from command_service.pricing.coupons import normalised_code
from command_service.servicing import Door
from event_log.codec import to_message
from serving.interceptor import ServicerContext
from shopkeeper.cart.v1 import cart_command_service_pb2 as service
from shopkeeper.cart.v1 import cart_command_service_pb2_grpc, cart_pb2


class CartServicer(cart_command_service_pb2_grpc.CartCommandServiceServicer):
    """Changes carts. cart_idle: how long a cart stays open after its last change."""

    def __init__(self, door: Door, cart_idle: timedelta) -> None:
        self._door = door
        self._cart_idle = cart_idle

    async def CreateCart(
        self, request: service.CreateCartRequest, context: ServicerContext
    ) -> service.CreateCartResponse:
        """Makes an empty cart."""
        command = CreateCart(
            cart_id=request.cart_id,
            customer_id=request.customer_id,
            currency_code=request.currency_code,
            customer_group=request.customer_group,
            price_list_id=request.price_list_id,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.CreateCartResponse(cart=_message(cart))
        )

    async def AddCartLine(
        self, request: service.AddCartLineRequest, context: ServicerContext
    ) -> service.AddCartLineResponse:
        """Adds units of a SKU."""
        command = AddCartLine(
            cart_id=request.cart_id,
            etag=request.etag or None,
            line_id=request.line_id or request.sku_id,
            sku_id=request.sku_id,
            quantity=request.quantity,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.AddCartLineResponse(cart=_message(cart))
        )

    async def SetCartLineQuantity(
        self, request: service.SetCartLineQuantityRequest, context: ServicerContext
    ) -> service.SetCartLineQuantityResponse:
        """Sets the units of a line."""
        command = SetCartLineQuantity(
            cart_id=request.cart_id,
            etag=request.etag or None,
            line_id=request.line_id,
            quantity=request.quantity,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda cart: service.SetCartLineQuantityResponse(cart=_message(cart)),
        )

    async def RemoveCartLine(
        self, request: service.RemoveCartLineRequest, context: ServicerContext
    ) -> service.RemoveCartLineResponse:
        """Removes a line."""
        command = SetCartLineQuantity(
            cart_id=request.cart_id,
            etag=request.etag or None,
            line_id=request.line_id,
            quantity=0,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.RemoveCartLineResponse(cart=_message(cart))
        )

    async def ApplyCoupon(
        self, request: service.ApplyCouponRequest, context: ServicerContext
    ) -> service.ApplyCouponResponse:
        """Applies a coupon."""
        command = ApplyCoupon(
            cart_id=request.cart_id,
            etag=request.etag or None,
            coupon_code=normalised_code(request.coupon_code),
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.ApplyCouponResponse(cart=_message(cart))
        )

    async def RemoveCoupon(
        self, request: service.RemoveCouponRequest, context: ServicerContext
    ) -> service.RemoveCouponResponse:
        """Takes a coupon off."""
        command = RemoveCoupon(
            cart_id=request.cart_id,
            etag=request.etag or None,
            coupon_code=normalised_code(request.coupon_code),
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.RemoveCouponResponse(cart=_message(cart))
        )

    async def MergeCarts(
        self, request: service.MergeCartsRequest, context: ServicerContext
    ) -> service.MergeCartsResponse:
        """Moves one cart's lines into another."""
        command = MergeCarts(
            from_cart_id=request.from_cart_id,
            into_cart_id=request.into_cart_id,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(request, context, command, _merged)

    async def RepriceCart(
        self, request: service.RepriceCartRequest, context: ServicerContext
    ) -> service.RepriceCartResponse:
        """Prices a cart anew."""
        command = RepriceCart(
            cart_id=request.cart_id,
            customer_id=request.customer_id or None,
            cart_idle=self._cart_idle,
        )
        return await self._door.carry_out(
            request, context, command, lambda cart: service.RepriceCartResponse(cart=_message(cart))
        )

    async def ExpireCart(
        self, request: service.ExpireCartRequest, context: ServicerContext
    ) -> service.ExpireCartResponse:
        """Closes a cart that was left alone for too long."""
        return await self._door.carry_out(
            request,
            context,
            ExpireCart(request.cart_id),
            lambda cart: service.ExpireCartResponse(cart=_message(cart)),
        )


def _message(cart: Cart) -> cart_pb2.Cart:
    return to_message(cart, cart_pb2.Cart)


def _merged(merged: MergedCarts) -> service.MergeCartsResponse:
    return service.MergeCartsResponse(
        cart=_message(merged.cart),
        dropped_lines=[to_message(line, cart_pb2.CartLine) for line in merged.dropped_lines],
    )

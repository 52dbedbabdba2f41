"""OrderingCommandService: requests to commands, orders to responses."""

from collections.abc import Iterable
from datetime import timedelta

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.extend_order_hold import ExtendOrderHold
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.place_order import PlaceOrder
from command_service.checkout.record_payment import PaymentAnswer, RecordPayment
from command_service.checkout.record_refund import RecordRefund, RefundAnswer
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import InvalidField
from command_service.ids import Ids
from command_service.money import Money
from command_service.ordering.contact import Contact, PostalAddress
from command_service.ordering.domain import Order, PaymentMode
from command_service.ordering.lines import Units
from command_service.ordering.order_numbers import OrderNumbers
from command_service.servicing import Door
from event_log.codec import to_message
from serving.interceptor import ServicerContext
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as service
from shopkeeper.ordering.v1 import ordering_command_service_pb2_grpc, ordering_pb2
from shopkeeper.types.v1 import contact_pb2, money_pb2


class OrderingServicer(ordering_command_service_pb2_grpc.OrderingCommandServiceServicer):
    """Places orders and leads them through their life.

    order_hold, instore_hold: how long an order holds its stock while it awaits its money, online or
    at the counter, unless the caller says.
    """

    def __init__(
        self,
        door: Door,
        ids: Ids,
        order_numbers: OrderNumbers,
        order_hold: timedelta,
        instore_hold: timedelta,
    ) -> None:
        self._door = door
        self._ids = ids
        self._order_numbers = order_numbers
        self._hold_by_payment_mode = {
            PaymentMode.ONLINE: order_hold,
            PaymentMode.IN_STORE: instore_hold,
        }

    async def PlaceOrder(
        self, request: service.PlaceOrderRequest, context: ServicerContext
    ) -> service.PlaceOrderResponse:
        """Turns a cart into an order."""
        # An unspecified mode is the ordinary one.
        payment_mode = PaymentMode(request.payment_mode or PaymentMode.ONLINE)
        command = PlaceOrder(
            order_id=self._ids.new(),
            order_number=await self._order_numbers.next(),
            cart_id=request.cart_id,
            etag=request.etag,
            expected_total=_money(request.expected_total),
            customer_id=request.customer_id,
            contact=_contact(request),
            payment_mode=payment_mode,
            hold_duration=(
                request.hold_duration.ToTimedelta()
                if request.HasField("hold_duration")
                else self._hold_by_payment_mode[payment_mode]
            ),
        )
        return await self._door.carry_out(
            request, context, command, lambda order: service.PlaceOrderResponse(order=_message(order))
        )

    async def RecordPayment(
        self, request: service.RecordPaymentRequest, context: ServicerContext
    ) -> service.RecordPaymentResponse:
        """Records money that was received."""
        command = RecordPayment(
            order_id=request.order_id,
            payment_reference=_reference(request.payment_reference, "payment_reference"),
            amount=_received_or_given(request.amount),
        )
        return await self._door.carry_out(request, context, command, _payment_response)

    async def RecordRefund(
        self, request: service.RecordRefundRequest, context: ServicerContext
    ) -> service.RecordRefundResponse:
        """Records money that was given back."""
        if request.HasField("amount") == bool(request.lines):
            raise InvalidField(field="amount", description="give either an amount or lines")
        command = RecordRefund(
            order_id=request.order_id,
            refund_reference=_reference(request.refund_reference, "refund_reference"),
            amount=_received_or_given(request.amount) if request.HasField("amount") else None,
            units=_units(request.lines),
        )
        return await self._door.carry_out(request, context, command, _refund_response)

    async def CancelOrder(
        self, request: service.CancelOrderRequest, context: ServicerContext
    ) -> service.CancelOrderResponse:
        """Calls an order off."""
        command = CancelOrder(order_id=request.order_id, etag=request.etag, reason=request.reason)
        return await self._door.carry_out(
            request, context, command, lambda order: service.CancelOrderResponse(order=_message(order))
        )

    async def CancelOrderLines(
        self, request: service.CancelOrderLinesRequest, context: ServicerContext
    ) -> service.CancelOrderLinesResponse:
        """Calls units off."""
        command = CancelOrderLines(
            order_id=request.order_id, units=_units(request.lines), etag=request.etag
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda order: service.CancelOrderLinesResponse(order=_message(order)),
        )

    async def FulfillOrderLines(
        self, request: service.FulfillOrderLinesRequest, context: ServicerContext
    ) -> service.FulfillOrderLinesResponse:
        """Ships units."""
        command = FulfillOrderLines(
            order_id=request.order_id,
            units=_units(request.lines),
            location_id=request.location_id,
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda order: service.FulfillOrderLinesResponse(order=_message(order)),
        )

    async def ReturnOrderLines(
        self, request: service.ReturnOrderLinesRequest, context: ServicerContext
    ) -> service.ReturnOrderLinesResponse:
        """Takes units back."""
        returned = tuple(
            ReturnedUnits(
                line_id=line.line_id,
                quantity=line.quantity,
                restock=line.restock,
                location_id=line.location_id,
            )
            for line in request.lines
        )
        return await self._door.carry_out(
            request,
            context,
            ReturnOrderLines(order_id=request.order_id, returned=returned),
            lambda order: service.ReturnOrderLinesResponse(order=_message(order)),
        )

    async def ExtendOrderHold(
        self, request: service.ExtendOrderHoldRequest, context: ServicerContext
    ) -> service.ExtendOrderHoldResponse:
        """Keeps an unpaid order's stock held."""
        command = ExtendOrderHold(
            order_id=request.order_id, hold_duration=request.hold_duration.ToTimedelta()
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda order: service.ExtendOrderHoldResponse(order=_message(order)),
        )

    async def ExpireOrder(
        self, request: service.ExpireOrderRequest, context: ServicerContext
    ) -> service.ExpireOrderResponse:
        """Gives an unpaid order's stock back."""
        command = ExpireOrder(order_id=request.order_id)
        return await self._door.carry_out(
            request, context, command, lambda order: service.ExpireOrderResponse(order=_message(order))
        )


def _message(order: Order) -> ordering_pb2.Order:
    return to_message(order, ordering_pb2.Order)


def _payment_response(answer: PaymentAnswer) -> service.RecordPaymentResponse:
    outcome = service.PaymentOutcome.ValueType(answer.outcome)
    return service.RecordPaymentResponse(order=_message(answer.order), outcome=outcome)


def _refund_response(answer: RefundAnswer) -> service.RecordRefundResponse:
    amount = to_message(answer.amount, money_pb2.Money)
    return service.RecordRefundResponse(order=_message(answer.order), amount=amount)


def _money(amount: money_pb2.Money) -> Money:
    return Money(amount.currency_code, amount.amount_minor)


def _reference(text: str, field: str) -> str:
    """A provider's name for its money, as it tells it itself: people paste it with blanks around."""
    reference = text.strip()
    if not reference:
        raise InvalidField(field=field, description="must not be blank")
    return reference


def _received_or_given(amount: money_pb2.Money) -> Money:
    if amount.amount_minor <= 0:
        raise InvalidField(field="amount.amount_minor", description="must be above 0")
    return _money(amount)


def _units(lines: Iterable[ordering_pb2.OrderLineUnits]) -> tuple[Units, ...]:
    return tuple(Units(line.line_id, line.quantity) for line in lines)


def _contact(request: service.PlaceOrderRequest) -> Contact | None:
    contact = request.contact
    if not request.HasField("contact") and not request.notes:
        return None
    has_shipping, has_billing = contact.HasField("shipping_address"), contact.HasField("billing_address")
    return Contact(
        email=contact.email.strip(),
        full_name=contact.full_name,
        phone=contact.phone,
        shipping_address=_address(contact.shipping_address) if has_shipping else None,
        billing_address=_address(contact.billing_address) if has_billing else None,
        notes=request.notes,
    )


def _address(address: contact_pb2.PostalAddress) -> PostalAddress:
    return PostalAddress(
        recipient=address.recipient,
        address_lines=tuple(address.address_lines),
        locality=address.locality,
        administrative_area=address.administrative_area,
        postal_code=address.postal_code,
        region_code=address.region_code,
    )

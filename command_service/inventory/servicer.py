"""InventoryCommandService: from requests to commands, from answers to responses."""

from collections.abc import Iterable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from command_service.errors import InvalidField
from command_service.inventory.commands import (
    AdjustStock,
    ReceiveStock,
    RepairStock,
    ReturnStock,
    SetStockPolicy,
    StockRepair,
    TransferStock,
    UpsertLocations,
)
from command_service.inventory.domain import Demand, Location, Reservation, Stock
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import (
    CommitReservation,
    ExpireReservation,
    ExtendReservation,
    ReleaseReservation,
    ReserveStock,
    ShipReservation,
)
from command_service.servicing import Door, outcome_messages, refuse_repeated
from event_log.codec import to_message
from serving.interceptor import ServicerContext
from shopkeeper.inventory.v1 import (
    inventory_command_service_pb2 as pb,
)
from shopkeeper.inventory.v1 import (
    inventory_command_service_pb2_grpc,
    inventory_pb2,
)


class InventoryCommandServicer(inventory_command_service_pb2_grpc.InventoryCommandServiceServicer):
    """Serves the commands of inventory."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def UpsertLocations(
        self, request: pb.UpsertLocationsRequest, context: ServicerContext
    ) -> pb.UpsertLocationsResponse:
        """Creates or replaces locations."""
        ids = [location.location_id for location in request.locations]
        refuse_repeated(ids, "locations[{}].location_id")
        command = UpsertLocations(tuple(map(_location, request.locations)))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda rows: pb.UpsertLocationsResponse(outcomes=outcome_messages(rows)),
        )

    async def ReceiveStock(
        self, request: pb.ReceiveStockRequest, context: ServicerContext
    ) -> pb.ReceiveStockResponse:
        """Records goods that came in."""
        command = ReceiveStock(_rows(request.rows), request.reference)
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda rows: pb.ReceiveStockResponse(outcomes=outcome_messages(rows)),
        )

    async def ReturnStock(
        self, request: pb.ReturnStockRequest, context: ServicerContext
    ) -> pb.ReturnStockResponse:
        """Puts goods that came back on the shelf."""
        command = ReturnStock(_rows(request.rows), request.reference)
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda rows: pb.ReturnStockResponse(outcomes=outcome_messages(rows)),
        )

    async def AdjustStock(
        self, request: pb.AdjustStockRequest, context: ServicerContext
    ) -> pb.AdjustStockResponse:
        """Records what a count found."""
        command = AdjustStock(
            sku_id=request.sku_id,
            location_id=request.location_id,
            counted_quantity=request.counted_quantity,
            expected_on_hand=request.expected_on_hand,
            reference=request.reference,
        )
        return await self._door.carry_out(
            request, context, command, lambda stock: pb.AdjustStockResponse(stock=_stock(stock))
        )

    async def TransferStock(
        self, request: pb.TransferStockRequest, context: ServicerContext
    ) -> pb.TransferStockResponse:
        """Moves units that nobody holds."""
        if request.from_location_id == request.to_location_id:
            description = "must differ from from_location_id"
            raise InvalidField(field="to_location_id", description=description)
        command = TransferStock(
            sku_id=request.sku_id,
            from_location_id=request.from_location_id,
            to_location_id=request.to_location_id,
            quantity=request.quantity,
            reference=request.reference,
        )
        return await self._door.carry_out(
            request, context, command, lambda stock: pb.TransferStockResponse(stock=_stock(stock))
        )

    async def SetStockPolicy(
        self, request: pb.SetStockPolicyRequest, context: ServicerContext
    ) -> pb.SetStockPolicyResponse:
        """Sets safety stock and backorder limit."""
        command = SetStockPolicy(
            sku_id=request.sku_id,
            location_id=request.location_id,
            safety_stock=request.safety_stock,
            backorder_limit=request.backorder_limit,
        )
        return await self._door.carry_out(
            request, context, command, lambda stock: pb.SetStockPolicyResponse(stock=_stock(stock))
        )

    async def RepairStock(
        self, request: pb.RepairStockRequest, context: ServicerContext
    ) -> pb.RepairStockResponse:
        """Makes counters equal their ledger."""
        return await self._door.carry_out(request, context, RepairStock(request.sku_id), _repair)

    async def ReserveStock(
        self, request: pb.ReserveStockRequest, context: ServicerContext
    ) -> pb.ReserveStockResponse:
        """Holds units for an outside reference."""
        command = ReserveStock(
            reservation_id=request.reservation_id,
            reference=request.reference,
            demands=_demands(request.lines),
            hold_duration=_span(request.hold_duration),
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda held: pb.ReserveStockResponse(reservation=_reservation(held)),
        )

    async def ExtendReservation(
        self, request: pb.ExtendReservationRequest, context: ServicerContext
    ) -> pb.ExtendReservationResponse:
        """Holds for longer."""
        return await self._door.carry_out(
            request,
            context,
            ExtendReservation(request.reservation_id, hold_duration=_span(request.hold_duration)),
            lambda held: pb.ExtendReservationResponse(reservation=_reservation(held)),
        )

    async def ReleaseReservation(
        self, request: pb.ReleaseReservationRequest, context: ServicerContext
    ) -> pb.ReleaseReservationResponse:
        """Gives units back."""
        return await self._door.carry_out(
            request,
            context,
            ReleaseReservation(request.reservation_id),
            lambda released: pb.ReleaseReservationResponse(reservation=_reservation(released)),
        )

    async def CommitReservation(
        self, request: pb.CommitReservationRequest, context: ServicerContext
    ) -> pb.CommitReservationResponse:
        """Allocates held units."""
        return await self._door.carry_out(
            request,
            context,
            CommitReservation(request.reservation_id),
            lambda committed: pb.CommitReservationResponse(reservation=_reservation(committed)),
        )

    async def ShipReservation(
        self, request: pb.ShipReservationRequest, context: ServicerContext
    ) -> pb.ShipReservationResponse:
        """Takes committed units off the shelf."""
        return await self._door.carry_out(
            request,
            context,
            ShipReservation(request.reservation_id, _demands(request.lines)),
            lambda shipped: pb.ShipReservationResponse(reservation=_reservation(shipped)),
        )

    async def ExpireReservation(
        self, request: pb.ExpireReservationRequest, context: ServicerContext
    ) -> pb.ExpireReservationResponse:
        """Gives an expired hold back."""
        return await self._door.carry_out(
            request,
            context,
            ExpireReservation(request.reservation_id),
            lambda expired: pb.ExpireReservationResponse(reservation=_reservation(expired)),
        )


def _location(location: inventory_pb2.Location) -> Location:
    return Location(location.location_id, location.title, location.rank, location.active)


def _rows(rows: Iterable[pb.StockRow]) -> tuple[StockRow, ...]:
    return tuple(StockRow(row.sku_id, row.location_id, row.quantity) for row in rows)


def _demands(lines: Iterable[inventory_pb2.ReservationLine]) -> tuple[Demand, ...]:
    return tuple(Demand(line.sku_id, line.quantity, line.location_id or None) for line in lines)


def _span(duration: Duration) -> timedelta:
    return duration.ToTimedelta()


def _stock(stock: Stock) -> inventory_pb2.Stock:
    return to_message(stock, inventory_pb2.Stock)


def _reservation(reservation: Reservation) -> inventory_pb2.Reservation:
    return to_message(reservation, inventory_pb2.Reservation)


def _repair(repair: StockRepair) -> pb.RepairStockResponse:
    response = pb.RepairStockResponse(stock=_stock(repair.stock))
    for found in repair.repaired:
        counter = response.repaired.add(
            location_id=found.location_id, counter=found.counter, was=found.was
        )
        # The field's name is a keyword of Python.
        setattr(counter, "is", found.now)
    return response

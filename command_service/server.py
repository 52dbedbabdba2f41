"""The command service put together: sessions, committer, servicers and workers."""

from dataclasses import replace

import grpc

from command_service.catalog.servicer import CatalogServicer
from command_service.checkout.cart_servicer import CartServicer
from command_service.checkout.expiry import ExpiryWorker
from command_service.checkout.lookouts import ExpiryLookout, PaymentLookout
from command_service.checkout.order_servicer import OrderingServicer
from command_service.checkout.payment_alarms import PaymentAlarms
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_servicer import PaymentServicer
from command_service.checkout.payment_worker import PaymentWorker
from command_service.checkout.price_windows import PriceWindowWorker
from command_service.committer import Committer, Lane, Limits
from command_service.ids import Ids
from command_service.inventory.servicer import InventoryCommandServicer
from command_service.ordering.order_numbers import OrderNumbers
from command_service.payment.gateway import Gateway
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.pricing.servicer import PricingServicer
from command_service.rehearsal import Rehearsal
from command_service.retention import RetentionWorker
from command_service.servicing import Door
from command_service.session import Session
from command_service.settings import Settings
from command_service.storage import storage
from payment_providers.wiring import ProviderSettings, providers_of
from serving.server import GrpcServer, Part, run
from shopkeeper.cart.v1 import cart_command_service_pb2_grpc as cart_grpc
from shopkeeper.catalog.v1 import catalog_command_service_pb2_grpc as catalog_grpc
from shopkeeper.inventory.v1 import inventory_command_service_pb2_grpc as inventory_grpc
from shopkeeper.ordering.v1 import ordering_command_service_pb2_grpc as ordering_grpc
from shopkeeper.payment.v1 import payment_command_service_pb2_grpc as payment_grpc
from shopkeeper.pricing.v1 import pricing_command_service_pb2_grpc as pricing_grpc

SERVICES = (
    "shopkeeper.catalog.v1.CatalogCommandService",
    "shopkeeper.pricing.v1.PricingCommandService",
    "shopkeeper.inventory.v1.InventoryCommandService",
    "shopkeeper.cart.v1.CartCommandService",
    "shopkeeper.ordering.v1.OrderingCommandService",
    "shopkeeper.payment.v1.PaymentCommandService",
)


async def serve(settings: Settings) -> None:
    """Serves commands until SIGTERM, then answers what was begun and stops."""
    url, timeouts, patience = settings.database_url, settings.timeouts, settings.patience
    sessions = {
        name: Session(url, f"shopkeeper {name}", timeouts)
        for name in ("short", "bulk", "rehearsal", "numbers")
    }
    kept = storage()
    units = {name: PostgresqlUnitOfWork(session, kept) for name, session in sessions.items()}
    short = Limits(
        batch_rows_max=settings.batch_rows_max,
        queue_length_max=settings.queue_length_max,
        queue_rows_max=settings.queue_rows_max,
        statement_seconds_max=settings.database_statement_seconds_max,
        sorting_seconds_max=settings.database_sorting_seconds_max,
        wary_seconds=settings.database_wary_seconds,
    )
    bulk = replace(short, batch_rows_max=settings.bulk_batch_rows_max)
    committer = Committer(Lane("short", units["short"], short), Lane("bulk", units["bulk"], bulk))
    door = Door(
        committer,
        Rehearsal(units["rehearsal"]),
        command_seconds_max=settings.command_seconds_max,
    )
    numbers = OrderNumbers(sessions["numbers"])
    providers = providers_of(ProviderSettings())
    driver = PaymentDriver(committer, Gateway(providers, lease=settings.provider_lease), patience)
    parts: list[Part] = [
        committer,
        ExpiryWorker(ExpiryLookout(url, "shopkeeper expiry", timeouts), committer, patience),
        PriceWindowWorker(url, committer, timeouts, patience),
        RetentionWorker(
            url,
            committer,
            settings.kept,
            timeouts,
            patience,
            pause_seconds=settings.retention_pause_seconds,
        ),
        PaymentWorker(PaymentLookout(url, "shopkeeper payments", timeouts), driver, patience),
        PaymentAlarms(url, timeouts, look_seconds=settings.payment_alarms_seconds),
        GrpcServer(
            settings.command_address,
            SERVICES,
            lambda server: _register(server, door, settings, numbers, driver),
            drain_seconds_max=settings.drain_seconds_max,
        ),
    ]
    await run(parts, metrics_port=settings.command_metrics_port)
    for provider in providers.values():
        await provider.close()
    for session in sessions.values():
        await session.close()


def _register(
    server: grpc.aio.Server,
    door: Door,
    settings: Settings,
    numbers: OrderNumbers,
    driver: PaymentDriver,
) -> None:
    ids = Ids()
    catalog_grpc.add_CatalogCommandServiceServicer_to_server(CatalogServicer(door), server)
    pricing_grpc.add_PricingCommandServiceServicer_to_server(PricingServicer(door), server)
    inventory_grpc.add_InventoryCommandServiceServicer_to_server(InventoryCommandServicer(door), server)
    cart_grpc.add_CartCommandServiceServicer_to_server(CartServicer(door, settings.cart_idle), server)
    ordering_grpc.add_OrderingCommandServiceServicer_to_server(
        OrderingServicer(door, ids, numbers, settings.order_hold, settings.instore_hold), server
    )
    payment_grpc.add_PaymentCommandServiceServicer_to_server(PaymentServicer(door, driver), server)

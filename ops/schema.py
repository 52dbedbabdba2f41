"""All tables of the shop, for the migrations and for the test that both agree."""

import importlib
import importlib.util

from sqlalchemy import MetaData

from event_log.tables import METADATA

# Importing one of these adds its tables to METADATA, which all of them share.
TABLE_MODULES = (
    "command_service.requests",
    "command_service.catalog.repository",
    "command_service.pricing.repository",
    "command_service.inventory.ledger",
    "command_service.inventory.repository",
    "command_service.cart.repository",
    "command_service.ordering.repository",
    "command_service.payment.repository",
    "command_service.checkout.money_ledger",
)


def all_tables() -> MetaData:
    """The tables of the log and of every module of TABLE_MODULES that exists."""
    for name in filter(_exists, TABLE_MODULES):
        importlib.import_module(name)
    return METADATA


def _exists(module_name: str) -> bool:
    try:
        return importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        # Its package does not exist either.
        return False

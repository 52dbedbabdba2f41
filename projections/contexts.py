"""All contexts' projections in one table, by the type of event as it stands in the log."""

from types import ModuleType
from typing import Final

from projections import cart, catalog, inventory, ordering, payment, pricing
from projections.retelling import EventProjection, Projections

CONTEXTS: Final[dict[str, ModuleType]] = {
    "catalog": catalog,
    "pricing": pricing,
    "inventory": inventory,
    "cart": cart,
    "ordering": ordering,
    "payment": payment,
}


def _all() -> Projections:
    projections: dict[str, EventProjection | None] = {}
    for context, module in CONTEXTS.items():
        for event_type, retellings in module.RETELLINGS.items():
            projections[event_type.DESCRIPTOR.full_name] = EventProjection(event_type, retellings)
        for name in module.NOT_SHOWN:
            projections[f"shopkeeper.{context}.v1.{name}"] = None
    return projections


PROJECTIONS: Final = _all()

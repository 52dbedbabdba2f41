"""Domain events and their protobuf twins."""

import importlib
import inspect
import pkgutil
import sys

import pytest

import command_service
from command_service.catalog.domain import Product
from command_service.catalog.events import ProductUpserted
from command_service.pricing.domain import FreeShipping
from command_service.pricing.events import PromotionUpserted
from event_log.codec import encode_event, event_twin
from event_log.events import Event
from shopkeeper.pricing.v1 import pricing_events_pb2
from tests.command_service.pricing.shop import promotion

CONTEXTS = ("catalog", "pricing", "inventory", "cart", "ordering", "payment")


def event_types() -> list[type[Event]]:
    """Every event of the domain."""
    for module in pkgutil.walk_packages(command_service.__path__, "command_service."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # dataclass(slots=True) makes a class anew; what it replaced may linger among the subclasses.
    found = [
        e for e in _descendants(Event) if _is_domain(e) and not any(map(_is_domain, e.__subclasses__()))
    ]
    return sorted(found, key=lambda event_type: event_type.__name__)


def _descendants(event_type: type[Event]) -> list[type[Event]]:
    children = event_type.__subclasses__()
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _is_domain(event_type: type[Event]) -> bool:
    module = event_type.__module__
    is_ours = module.startswith("command_service.")
    return is_ours and getattr(sys.modules[module], event_type.__name__) is event_type


def twins() -> set[str]:
    """Every message of the events files."""
    names = set()
    for context in CONTEXTS:
        module = importlib.import_module(f"shopkeeper.{context}.v1.{context}_events_pb2")
        names |= {message.full_name for message in module.DESCRIPTOR.message_types_by_name.values()}
    return names


@pytest.mark.parametrize("event_type", event_types(), ids=lambda event_type: event_type.__name__)
def test_an_event_has_every_field_of_its_twin(event_type: type[Event]) -> None:
    descriptor = event_twin(event_type.context, event_type.__name__).DESCRIPTOR
    attributes = {name for name, _ in inspect.getmembers(event_type)}
    attributes |= set(getattr(event_type, "__annotations__", {}))
    assert {field.name for field in descriptor.fields} <= attributes


# A set has the order of its hashes, a map that of protobuf's: both differ between processes, and so few
# of all orders are sorted that no test would ever see one by chance.
NAMES = [f"name-{number:02}" for number in range(50)]


def test_a_set_is_told_in_the_same_order_by_every_process() -> None:
    event = PromotionUpserted(promotion("ship", FreeShipping(), sku_ids=frozenset(NAMES)), in_force=True)
    _, payload = encode_event(event)
    assert pricing_events_pb2.PromotionUpserted.FromString(payload).promotion.sku_ids == NAMES


def test_a_map_is_told_in_the_same_order_by_every_process() -> None:
    event = ProductUpserted(Product("mug", "Mug", dict.fromkeys(NAMES, "yes"), active=True))
    _, payload = encode_event(event)
    assert sorted(NAMES, key=lambda name: payload.index(name.encode())) == NAMES


def test_every_message_of_the_events_files_is_an_event_or_a_part_of_one() -> None:
    events = {f"shopkeeper.{e.context}.v1.{e.__name__}" for e in event_types()}
    parts = {"shopkeeper.ordering.v1.OrderProgress", "shopkeeper.ordering.v1.OrderLineProgress"}
    assert twins() - parts == events

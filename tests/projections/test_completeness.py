"""Every event is retold, or listed as not shown with the reason."""

import importlib

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from projections.contexts import CONTEXTS, PROJECTIONS
from projections.retelling import retell, steps_of
from read_models.partitions import PARTITION_COUNT
from tests.projections.shop_events import a_day
from tests.read_side import stored

# Parts of events, not events: what a message of an events file is unless something embeds it.
PARTS = {
    "shopkeeper.ordering.v1.OrderLineProgress",
    "shopkeeper.ordering.v1.OrderProgress",
}


def event_types() -> list[type[Message]]:
    found = []
    for context in CONTEXTS:
        module = importlib.import_module(f"shopkeeper.{context}.v1.{context}_events_pb2")
        messages = module.DESCRIPTOR.message_types_by_name.values()
        found += [GetMessageClass(each) for each in messages if each.full_name not in PARTS]
    return found


def test_every_event_is_retold_or_said_not_to_be_shown() -> None:
    assert {each.DESCRIPTOR.full_name for each in event_types()} == set(PROJECTIONS)


def test_what_is_not_shown_has_a_reason_and_is_not_retold_as_well() -> None:
    for module in CONTEXTS.values():
        assert all(module.NOT_SHOWN.values())
        retold = {each.DESCRIPTOR.name for each in module.RETELLINGS}
        assert not retold & set(module.NOT_SHOWN)


def test_what_is_derived_from_a_document_lies_in_its_partition() -> None:
    for number in range(3 * PARTITION_COUNT):
        steps = steps_of(stored(a_day(number)), PROJECTIONS)
        for address, its_steps in steps.items():
            derive = its_steps[0].retelling.derive
            view = None
            for step in its_steps:
                view = step.retelling.fold(view, step.event)
            for derived in derive(view) if derive else ():
                assert derived.partition == address.partition


def test_no_view_changes_the_events_that_it_is_told_of() -> None:
    """Other views are told of them as well, and other generations."""
    for number in range(PARTITION_COUNT):
        steps = steps_of(stored(a_day(number)), PROJECTIONS)
        events = [step.event for its_steps in steps.values() for step in its_steps]
        before = [event.SerializeToString(deterministic=True) for event in events]
        for address, its_steps in steps.items():
            retell(address, None, its_steps)
        assert [event.SerializeToString(deterministic=True) for event in events] == before


@pytest.mark.parametrize("event_type", event_types(), ids=lambda each: each.DESCRIPTOR.name)
def test_every_retold_event_has_an_address_of_its_own_making(event_type: type[Message]) -> None:
    projection = PROJECTIONS[event_type.DESCRIPTOR.full_name]
    for retelling in projection.retellings if projection else ():
        address = retelling.address_of(event_type())
        assert address is None or 0 <= address.partition < PARTITION_COUNT

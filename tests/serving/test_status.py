"""What a refusal tells: each thing that stands in the way, within what trailers may carry."""

from base64 import b64encode
from urllib.parse import quote

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, PreconditionFailure

from command_service.errors import BackorderLimitInUse, OutOfStock, QuantityTooLarge
from serving.failures import FACT_BYTES_MAX, Failure, Violation, listed
from serving.status import to_status

TRAILER_BYTES_MAX = 8 * 1024
"""What proxies and clients take in all."""

ANY_SCRIPT = pytest.mark.parametrize("letter", ["a", "ü", "货", "🧦"])


def precondition(failure: Failure) -> PreconditionFailure:
    [found] = [
        detail for detail in to_status(failure).details if detail.Is(PreconditionFailure.DESCRIPTOR)
    ]
    return PreconditionFailure.FromString(found.value)


def test_a_violation_names_the_one_thing_concerned() -> None:
    told = precondition(BackorderLimitInUse(sku_id="mug", location_id="main", needed=3))
    [violation] = told.violations
    assert (violation.type, violation.subject) == ("BACKORDER_LIMIT_IN_USE", "mug")
    assert violation.description == (
        "Promises for SKU mug at main rest on a backorder limit of 3 or more."
    )


def test_a_violation_that_concerns_no_thing_names_none() -> None:
    [violation] = precondition(QuantityTooLarge(quantity_max=5)).violations
    assert violation.subject == ""


def test_each_short_sku_is_a_violation() -> None:
    failure = OutOfStock(
        [Violation("mug", "2 wanted, 1 available"), Violation("cup", "1 wanted, 0 available")]
    )
    told = precondition(failure)
    assert [(each.type, each.subject, each.description) for each in told.violations] == [
        ("OUT_OF_STOCK", "cup", "1 wanted, 0 available"),
        ("OUT_OF_STOCK", "mug", "2 wanted, 1 available"),
    ]
    assert failure.facts["short_count"] == "2"


def test_thirty_short_skus_are_all_named() -> None:
    names = [f"sku-with-a-longer-name-{n:03}" for n in range(30)]
    told = precondition(OutOfStock(Violation(name, "1 wanted, 0 available") for name in names))
    assert [violation.subject for violation in told.violations] == names


@ANY_SCRIPT
def test_any_number_of_short_skus_in_any_script_fits_the_trailers(letter: str) -> None:
    names = [f"{letter * 60}{n:03}" for n in range(300)]
    failure = OutOfStock(Violation(name, "1 wanted, 0 available") for name in names)
    status = to_status(failure)
    on_the_wire = quote(status.message).encode() + b64encode(status.SerializeToString())
    assert len(on_the_wire) < TRAILER_BYTES_MAX * 0.9
    told = [violation.subject for violation in precondition(failure).violations]
    assert len(told) >= 10
    assert told == names[: len(told)]
    info = ErrorInfo()
    status.details[0].Unpack(info)
    assert info.metadata["short_count"] == "300"


def test_a_list_that_is_too_long_is_cut_between_its_entries() -> None:
    entries = [f"entry {n:03}" for n in range(300)]
    text = listed(entries)
    *kept, more = text.split("; ")
    assert kept == entries[: len(kept)]
    assert more == f"and {300 - len(kept)} more"
    assert FACT_BYTES_MAX - 20 < len(text) <= FACT_BYTES_MAX


def test_a_list_that_fits_is_told_whole() -> None:
    assert listed(["a", "b"]) == "a; b"
    assert listed([]) == ""


@ANY_SCRIPT
def test_a_fact_is_cut_between_characters(letter: str) -> None:
    fact = QuantityTooLarge(quantity_max=letter * 1_000).facts["quantity_max"]
    assert fact == letter * len(fact)
    assert FACT_BYTES_MAX - 4 < len(fact.encode()) <= FACT_BYTES_MAX

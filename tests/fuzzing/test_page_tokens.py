"""The fuzzer's page tokens reach whatever a service does with one: each guard, taken away, is missed."""

import dataclasses
import struct
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, settings

import history_service.inventory
import history_service.ordering
import history_service.paging
import query_service.paging
from query_service.paging import Pager
from read_models.entries import Entry, Place
from serving.failures import InvalidField
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.ordering.v1.ordering_history_service_pb2 import ExplainOrderRequest, SearchOrdersRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID
from shopkeeper.ordering.v1.ordering_query_service_pb2 import ListOrdersByStateRequest
from tests.fuzzing.page_tokens import LISTINGS, next_pages

EXAMPLES = 100
"""As many as each listing gets with each change."""


@dataclasses.dataclass(frozen=True)
class Readers:
    """What reads page tokens, each module as it is or with a mistake in it."""

    history_paging: Any = history_service.paging
    history_orders: Any = history_service.ordering
    query_paging: Any = query_service.paging

    def of_orders(self, request: Any) -> list[Any]:
        return list(self.history_orders._place(request).values())

    def of_an_order(self, request: Any) -> list[Any]:
        return [self.history_orders._last_told(request)]

    def of_movements(self, request: Any) -> list[Any]:
        return list(self.history_paging.read_page_token(request, request.page_token, (int, int)))

    def of_listing(self, request: Any) -> list[Any]:
        name = LISTINGS["ListOrdersByStateRequest"](request)
        self.query_paging.Pager.of(name, 1).start(request.page_token)
        # It becomes a key's bytes: any number and any text will do.
        return []


def with_token(request: Any, cursor: list[int | str]) -> Any:
    request.page_token = history_service.paging.page_token(request, cursor)
    return request


def listing() -> ListOrdersByStateRequest:
    request = ListOrdersByStateRequest(state=ORDER_STATE_PAID, page_size=1)
    entries = [Entry(Place(7, "o1").sort_key, b""), Entry(Place(6, "o2").sort_key, b"")]
    name = LISTINGS["ListOrdersByStateRequest"](request)
    request.page_token = Pager.of(name, 1).next_page_token(entries, 1)
    return request


SAMPLES: list[tuple[Any, Callable[[Readers, Any], list[Any]]]] = [
    (with_token(SearchOrdersRequest(email="a@example.com"), [7, "o1"]), Readers.of_orders),
    (with_token(ExplainOrderRequest(order_id="o1"), [7]), Readers.of_an_order),
    (with_token(ExplainStockRequest(sku_id="sku"), [9, 7]), Readers.of_movements),
    (listing(), Readers.of_listing),
]


def fuzz(readers: Readers, examples: int) -> list[str]:
    """Has every reader read tokens, as a service does that was sent them; what they missed."""
    missed: list[str] = []
    real = [sample.page_token.encode() for sample, _ in SAMPLES]
    for sample, read in SAMPLES:
        send(sample, partial(read, readers), real, examples, missed)
    return missed


def send(
    sample: Any, read: Callable[[Any], list[Any]], real: list[bytes], examples: int, missed: list[str]
) -> None:
    @settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(next_pages(sample, real))
    def one(body: bytes) -> None:
        try:
            request = type(sample).FromString(body)
            odd = [value for value in read(request) if not fits(value)] if request.page_token else []
        except (DecodeError, InvalidField):
            return
        except MISTAKES as error:
            missed.append(f"{type(error).__name__}: {error}")
        else:
            missed.extend(f"{value} was taken" for value in odd)

    one()


MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What a client would be told of as INTERNAL."""


def fits(value: object) -> bool:
    """Whether a column holds it."""
    if value is None or isinstance(value, datetime):
        return True
    if isinstance(value, str):
        return "\0" not in value and "\ud800" not in value
    return type(value) is int and value.bit_length() <= 63


def mutant(module: ModuleType, before: str, after: str) -> Any:
    """The module with another line in it."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(before) == 1
    changed = ModuleType(module.__name__)
    exec(compile(source.replace(before, after), module.__file__, "exec"), changed.__dict__)  # noqa: S102
    return changed


def test_whatever_token_comes_is_read_or_refused() -> None:
    assert fuzz(Readers(), 5 * EXAMPLES) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("except (binascii.Error, ValueError) as error", "except binascii.Error as error"),
        ("not isinstance(cursor, list) or ", ""),
        ("[type(value) for value in cursor] != list(kinds)", "len(cursor) != len(kinds)"),
        ("[type(value) for value in cursor] != list(kinds)", "False"),
        ("if not all(_fits_a_column(value) for value in cursor)", "if False"),
        ("return value.bit_length() <= _INTEGER_BITS_MAX", "return True"),
        ('return "\\0" not in value and value.isprintable()', "return True"),
    ],
)
def test_a_guard_that_the_history_service_lacks_is_missed(
    before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = mutant(history_service.paging, before, after)
    monkeypatch.setattr(history_service.ordering, "read_page_token", changed.read_page_token)
    assert fuzz(Readers(history_paging=changed), EXAMPLES)


def test_a_moment_that_no_calendar_has_is_missed() -> None:
    changed = mutant(history_service.ordering, "except OverflowError", "except ZeroDivisionError")
    assert fuzz(Readers(history_orders=changed), EXAMPLES)


@pytest.mark.parametrize("caught", ["binascii.Error, struct.error", "binascii.Error, ValueError"])
def test_a_guard_that_the_query_service_lacks_is_missed(caught: str) -> None:
    guard = "except (binascii.Error, struct.error, ValueError)"
    changed = mutant(query_service.paging, guard, f"except ({caught})")
    assert fuzz(Readers(query_paging=changed), EXAMPLES)

"""Addresses of servers and spans of time, as every service takes them from its environment."""

import pytest
from pydantic import TypeAdapter, ValidationError

from serving.settings import PostgresUrl, RedisUrl, Seconds, SpanSeconds

SECONDS, SPAN = TypeAdapter[float](Seconds), TypeAdapter[float](SpanSeconds)
POSTGRES, REDIS = TypeAdapter[str](PostgresUrl), TypeAdapter[str](RedisUrl)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (POSTGRES, "postgresql://u:p@h/d"),
        (POSTGRES, "postgres://u:p@first:5432,second:5433/d?target_session_attrs=primary"),
        (POSTGRES, "postgresql://u:p@[::1]:5432/d"),
        (POSTGRES, "postgresql:///d?host=/run/postgresql"),
        (REDIS, "redis://:p@h:6379/0"),
        (REDIS, "rediss://h"),
        (REDIS, "redis+cluster://h:7000"),
        (REDIS, "unix:///run/valkey.sock?db=0"),
    ],
)
def test_what_a_client_understands_is_taken_as_it_is(kind: TypeAdapter[str], url: str) -> None:
    assert kind.validate_python(url) == url


@pytest.mark.parametrize(
    ("kind", "url", "reason"),
    [
        (POSTGRES, "", "must begin with postgresql:// or postgres://"),
        (POSTGRES, "redis://h", "must begin with postgresql:// or postgres://"),
        (POSTGRES, "postgresql://u:hu/sh@h/d", "must have a number for its port"),
        (POSTGRES, "postgresql://u:p@first:5432,second:hush/d", "must have a number for its port"),
        (POSTGRES, "postgresql://u:hu[sh@h/d", "must name a server"),
        (REDIS, "h:6379", "must begin with redis:// or rediss:// or redis+cluster:// or unix://"),
        (REDIS, "redis://:hu/sh@h:6379", "must have a number for its port"),
    ],
)
def test_anything_else_is_refused_and_not_repeated(
    kind: TypeAdapter[str], url: str, reason: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.validate_python(url)
    [wrong] = caught.value.errors(include_input=False)
    assert wrong["msg"] == f"Value error, {reason}"


@pytest.mark.parametrize("kind", [SECONDS, SPAN])
@pytest.mark.parametrize(("text", "seconds"), [("0.001", 0.001), ("2", 2.0), ("1.5e3", 1500.0)])
def test_a_timeout_may_have_parts_of_a_second(
    kind: TypeAdapter[float], text: str, seconds: float
) -> None:
    assert kind.validate_python(text) == seconds


@pytest.mark.parametrize("kind", [SECONDS, SPAN])
@pytest.mark.parametrize("text", ["0", "0.0009", "-1", "nan", "inf", "-inf", "1e11", "soon"])
def test_what_is_no_time_to_wait_is_refused(kind: TypeAdapter[float], text: str) -> None:
    with pytest.raises(ValidationError):
        kind.validate_python(text)

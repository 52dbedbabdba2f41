"""Structured logs: one JSON object a line, on standard error."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class ForgivingStream:
    """A stream that loses what cannot be written: no disk that is full may end what a process does.

    Whoever logs does so in the middle of something else, often while it mends a failure.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, if it can be written; its length all the same."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Sends what was written on, if there is anywhere to."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(service: str, level: str = "INFO") -> None:
    """Every line tells time (UTC), level, service and event, then its facts."""
    facts: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the values of variables: requests are among them, and personal data in those.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    structlog.configure(
        processors=[*facts, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", ForgivingStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    _pass_on_libraries(facts)


def _pass_on_libraries(facts: list[structlog.typing.Processor]) -> None:
    """What libraries log reaches the same stream in the same form, from WARNING on."""
    handler = logging.StreamHandler(ForgivingStream(sys.stderr))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *facts],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(_is_worth_telling)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


_CALL_HAS_ENDED = "ExecuteBatchError raised in core"
"""How gRPC begins what it says of an answer that cannot be sent: its caller gave up a moment ago. It is
silent itself if it has heard of that in time; else it writes a traceback, which any client can cause."""


def _is_worth_telling(record: logging.LogRecord) -> bool:
    return not (record.name.startswith("grpc.") and record.getMessage().startswith(_CALL_HAS_ENDED))

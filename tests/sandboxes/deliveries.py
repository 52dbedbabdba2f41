"""How webhooks arrive: over HTTP, again until 2xx, more than once, out of order and late."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

HTTP_OK_MIN, HTTP_OK_MAX = 200, 299


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How unreliable the deliveries are, and how persistent."""

    seed: int = 0
    duplicate_probability: float = 0.0
    duplicates_max: int = 0
    """A duplicated message arrives this many more times at most."""
    delay_seconds_max: float = 0.0
    """Each copy waits a random time up to this, which also shuffles them. 0 keeps their order."""
    late_probability: float = 0.0
    late_seconds: float = 0.0
    """What a late copy waits besides."""
    retry_pause_seconds: float = 0.05
    """Before the second attempt; doubled before each further one."""
    retry_pause_seconds_max: float = 2.0
    attempts_max: int = 1000
    """Over half an hour of pauses: longer than any test lets a receiver be down."""
    timeout_seconds: float = 10.0
    in_flight_max: int = 16
    """A receiver is not asked to take more at once. 1 delivers one by one."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be delivered where. The headers are made for each attempt: signatures bear its time."""

    label: str
    url: str
    body: bytes
    headers: Callable[[], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, and what came of it: a status, or the error of a connection."""

    label: str
    url: str
    status: int | None
    error: str | None

    @property
    def is_success(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and HTTP_OK_MIN <= self.status <= HTTP_OK_MAX


class Deliveries:
    """Carries messages to their receivers in the background, until it is closed."""

    def __init__(self, settings: DeliverySettings | None = None) -> None:
        self.settings = settings or DeliverySettings()
        self.attempts: list[Attempt] = []
        self._random = Random(self.settings.seed)
        self._client = httpx.AsyncClient(timeout=self.settings.timeout_seconds)
        self._in_flight = asyncio.Semaphore(self.settings.in_flight_max)
        self._gate = asyncio.Event()
        self._gate.set()
        self._copies: set[asyncio.Task[None]] = set()

    @property
    def outstanding_count(self) -> int:
        """Copies that are not delivered yet."""
        return len(self._copies)

    def send(self, message: Message) -> None:
        """Has a message delivered, as often and as late as chance has it."""
        for _ in range(1 + self._draw_duplicates()):
            self._start(message, self._draw_delay_seconds())

    def send_once(self, message: Message) -> None:
        """Has one copy delivered without delay, as a manual resend does."""
        self._start(message, 0.0)

    def hold(self) -> None:
        """Keeps every copy back that is not on its way, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Lets go what was held."""
        self._gate.set()

    async def close(self) -> None:
        """Stops; what is not delivered never will be."""
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._client.aclose()

    def as_json(self) -> dict[str, Any]:
        """Counts: what is outstanding, what was tried, what arrived."""
        return {
            "outstanding": self.outstanding_count,
            "attempts": len(self.attempts),
            "delivered": sum(attempt.is_success for attempt in self.attempts),
            "is_held": not self._gate.is_set(),
        }

    def _draw_duplicates(self) -> int:
        if self.settings.duplicates_max and self._random.random() < self.settings.duplicate_probability:
            return self._random.randint(1, self.settings.duplicates_max)
        return 0

    def _draw_delay_seconds(self) -> float:
        delay_seconds = self._random.uniform(0.0, self.settings.delay_seconds_max)
        is_late = self._random.random() < self.settings.late_probability
        return delay_seconds + self.settings.late_seconds if is_late else delay_seconds

    def _start(self, message: Message, delay_seconds: float) -> None:
        copy = asyncio.create_task(self._deliver(message, delay_seconds))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)

    async def _deliver(self, message: Message, delay_seconds: float) -> None:
        pause_seconds = self.settings.retry_pause_seconds
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        for _ in range(self.settings.attempts_max):
            await self._gate.wait()
            async with self._in_flight:
                attempt = await self._try(message)
            self.attempts.append(attempt)
            if attempt.is_success:
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self.settings.retry_pause_seconds_max)

    async def _try(self, message: Message) -> Attempt:
        try:
            answer = await self._client.post(
                message.url, content=message.body, headers=message.headers()
            )
        except httpx.HTTPError as error:
            return Attempt(message.label, message.url, None, type(error).__name__)
        return Attempt(message.label, message.url, answer.status_code, None)

"""Errands: calls to a provider that have to be made, or whose outcome has to be learned. Pure.

An errand is committed before its call. So a crash at any point leaves it behind, and whoever claims it
next makes the same call with the same key: at the provider it has one effect.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

LEASE = timedelta(seconds=30)
"""Unless another is set: for the wait, the calls and the report of their outcome."""

WAIT_SHARE = 1 / 3
"""Of a lease: for the wait for a place among the calls under way."""

CALLS_SHARE = 0.6
"""Of a lease: for the one to three calls of an errand. What is left is for the commit of the report."""

KEY_LIFE = timedelta(hours=2)
"""Providers forget idempotency keys: Stripe after a day, PayPal some after hours."""

RESOLVE_PATIENCE = timedelta(minutes=10)
"""Providers settle a call without an answer within minutes; what takes longer is a matter for people."""

_BACKOFF_FIRST = timedelta(seconds=1)
_BACKOFF_MAX = timedelta(minutes=1)
"""An order's stock is held for minutes: a provider that is well again should be noticed in one."""

ASK_PAUSE_FIRST = timedelta(minutes=1)
"""A refund that is to be done at once is so within seconds; banks take days."""

ASK_PAUSE_MAX = timedelta(hours=6)
"""Four times a day is soon enough for whoever waits for a bank, and no burden to the provider."""

_DOUBLINGS_MAX = 9
"""2 ** 9 of the first pauses are more than the longest."""


class Task(IntEnum):
    """What is asked of the provider; stored by number."""

    BEGIN = 1
    CAPTURE = 2
    VOID = 3
    REFUND = 4
    ASK = 5
    """How far a refund has come that the provider holds pending: a question, which has no effect."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One call. While it is in flight, nobody but who claimed it touches it before due_time.

    key_generation: counts the keys; a new one is only made when the old one is spent and the provider
    has no trace of an effect. key_spent_time: when the provider first only repeated a failure under the
    key; no call was made with it since. resolve_deadline: set once an outcome was unknown, until it is
    known. amount_minor: of a capture. claim_time: of the attempt in hand, else of the last that was or
    may have been sent. last_sent_time: of the one before it that was or may have been sent.
    """

    task: Task
    due_time: datetime
    amount_minor: int = 0
    key_generation: int = 1
    key_spent_time: datetime | None = None
    attempt_count: int = 0
    is_in_flight: bool = False
    claim_time: datetime | None = None
    last_sent_time: datetime | None = None
    resolve_deadline: datetime | None = None

    @classmethod
    def claimed_at_once(
        cls,
        task: Task,
        now: datetime,
        *,
        amount_minor: int = 0,
        key_generation: int = 1,
        lease: timedelta = LEASE,
    ) -> "Errand":
        """A new one, in the hands of whoever asked for it."""
        return cls(task, now, amount_minor, key_generation).claimed(now, lease=lease)

    @classmethod
    def asking(cls, now: datetime) -> "Errand":
        """A new one, after a pause: what is pending cannot have ended yet."""
        return cls(Task.ASK, now).postponed(now, None)

    @property
    def is_unknown(self) -> bool:
        """True when an earlier call ended without an answer."""
        return self.resolve_deadline is not None

    @property
    def is_key_spent(self) -> bool:
        """True when the provider only repeats a failure under the key."""
        return self.key_spent_time is not None

    @property
    def is_key_good(self) -> bool:
        """True when the same call with the same key is sure to tell what became of the one before."""
        return not self.is_key_spent and not self._is_key_old

    @property
    def must_ask(self) -> bool:
        """True when an earlier call may have had an effect that its key alone might not tell.

        So it is when one ended without an answer, and when the last one, whose outcome was never
        reported, is so long ago that the provider may have forgotten its key.
        """
        return self.is_unknown or self._is_key_old

    @property
    def _is_key_old(self) -> bool:
        first_sent_time = self.last_sent_time
        if self.resolve_deadline is not None:
            first_sent_time = self.resolve_deadline - RESOLVE_PATIENCE
        if first_sent_time is None or self.claim_time is None:
            return False
        return self.claim_time - first_sent_time > KEY_LIFE

    @property
    def may_have_been_sent(self) -> bool:
        """True when a call before the one in hand may have had an effect."""
        return self.is_unknown or self.last_sent_time is not None

    @property
    def sent_ago(self) -> timedelta | None:
        """How long before the one in hand another call was or may have been sent."""
        if self.claim_time is None or self.last_sent_time is None:
            return None
        return self.claim_time - self.last_sent_time

    def attempt(self, subject_id: str) -> str:
        """The name of the call in hand: one that was claimed again has another."""
        return f"{self.key(subject_id)}:{self.attempt_count}"

    def key(self, subject_id: str) -> str:
        """The idempotency key, of at most 100 characters. subject_id: of the payment or refund."""
        return f"{subject_id}:{self.task.name.lower()}:{self.key_generation}"

    def is_free(self, now: datetime, *, is_urgent: bool = False) -> bool:
        """True when anybody may claim it. is_urgent: a customer waits, so a pause is cut short."""
        return self.due_time <= now or (is_urgent and not self.is_in_flight)

    def claimed(self, now: datetime, *, lease: timedelta = LEASE) -> "Errand":
        """In the hands of who asked, for as long as a call takes; twice in one decision is once."""
        if self.claim_time == now:
            return self
        return replace(
            self,
            due_time=now + lease,
            attempt_count=self.attempt_count + 1,
            is_in_flight=True,
            claim_time=now,
            last_sent_time=self.claim_time,
        )

    def postponed(self, now: datetime, retry_after_seconds: float | None) -> "Errand":
        """To be tried again: later each time, and not before the provider allows.

        The attempt in hand had no effect, so it does not count as sent: who waits for the effect of an
        earlier one (SumUp's refunds) would begin to wait anew each time.
        """
        is_question = self.task is Task.ASK
        first = ASK_PAUSE_FIRST if is_question else _BACKOFF_FIRST
        longest = ASK_PAUSE_MAX if is_question else _BACKOFF_MAX
        pause = min(first * 2 ** min(self.attempt_count, _DOUBLINGS_MAX), longest)
        allowed = timedelta(seconds=retry_after_seconds or 0.0)
        due_time = now + max(pause, allowed)
        return replace(self, due_time=due_time, is_in_flight=False, claim_time=self.last_sent_time)

    def lost(self, now: datetime, *, is_key_spent: bool) -> "Errand":
        """Its outcome is unknown: the provider is asked, soon."""
        return replace(
            self.postponed(now, None),
            claim_time=self.claim_time,
            key_spent_time=self.key_spent_time or (now if is_key_spent else None),
            resolve_deadline=self.resolve_deadline or now + RESOLVE_PATIENCE,
        )

    def renewed(self, now: datetime) -> "Errand":
        """With a new key, at once: the provider has no trace of an effect, and the old key is spent."""
        return replace(
            self,
            due_time=now,
            key_generation=self.key_generation + 1,
            key_spent_time=None,
            is_in_flight=False,
        )

"""What a sandbox of SumUp can be told when it starts."""

from dataclasses import dataclass, field

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import NEEDS_KEY, FaultKind, FaultSettings

FAULT_KINDS = tuple(kind for kind in FaultKind if kind not in NEEDS_KEY)
"""SumUp knows no idempotency keys, so nothing can go wrong with one."""


@dataclass(frozen=True, slots=True)
class SumUpSettings:
    """Everything has a default that is calm: no faults, each callback once and in order."""

    api_key: str = "sup_sk_sandbox"
    merchant_code: str = "MSANDBOX"
    affiliate_key: str = "aff-sandbox"
    seed: int = 0
    reader_ids: tuple[str, ...] = ("rdr_SANDBOXSANDBOXSANDBOXSANDB",)
    """Readers that are paired from the start."""
    reader_start_seconds: float = 60.0
    """What an accepted checkout has to start in; until then the reader is busy with it."""
    refund_status: int = 204
    """204 with an empty body as in the published description, or 201 as in the SDK."""
    callback_url: str = ""
    """Where callbacks go instead of to each payment's own `return_url`."""
    faults: FaultSettings = field(default_factory=lambda: FaultSettings(kinds=FAULT_KINDS))
    deliveries: DeliverySettings = field(default_factory=DeliverySettings)

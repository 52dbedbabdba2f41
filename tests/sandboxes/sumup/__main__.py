"""`python -m tests.sandboxes.sumup --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse

from tests.sandboxes.command_line import (
    delivery_settings,
    fault_settings,
    parser_of,
    serve_until_told,
)
from tests.sandboxes.sumup.server import SumUpSandbox
from tests.sandboxes.sumup.settings import FAULT_KINDS, SumUpSettings


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm = SumUpSettings()
    options = parser_of("sumup", fault_kinds=FAULT_KINDS)
    add = options.add_argument
    add("--callback-url", default=calm.callback_url, help="where callbacks go, not to return_url")
    add("--api-key", default=calm.api_key)
    add("--merchant-code", default=calm.merchant_code)
    add("--affiliate-key", default=calm.affiliate_key)
    add("--reader-ids", nargs="+", default=calm.reader_ids)
    add("--reader-start-seconds", type=float, default=calm.reader_start_seconds)
    add("--refund-status", type=int, choices=(201, 204), default=calm.refund_status)
    return options


def settings_from(options: argparse.Namespace) -> SumUpSettings:
    """The settings that the options spell out."""
    return SumUpSettings(
        api_key=options.api_key,
        merchant_code=options.merchant_code,
        affiliate_key=options.affiliate_key,
        seed=options.seed,
        reader_ids=tuple(options.reader_ids),
        reader_start_seconds=options.reader_start_seconds,
        refund_status=options.refund_status,
        callback_url=options.callback_url,
        faults=fault_settings(options),
        deliveries=delivery_settings(options),
    )


if __name__ == "__main__":
    given = parser().parse_args()
    serve_until_told(SumUpSandbox(settings_from(given)).running(port=given.port))

"""A sandbox of SumUp's API: online checkouts, card readers, transactions and refunds of one merchant.

What is strict here is documented by SumUp: bearer keys, JSON, required fields, amounts, states. There
are no idempotency keys, and callbacks are not signed. Everything is in memory. See server.py for the way
of a call.
"""

"""A sandbox of Stripe's API, as far as one-off payments need it.

What is strict here is strict at Stripe: form encoding, required and unknown parameters, states, amounts,
idempotency keys. Everything is in memory. See server.py for the way of a call.
"""

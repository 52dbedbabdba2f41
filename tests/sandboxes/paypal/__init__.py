"""A sandbox of PayPal's REST API, as far as one-off payments need it.

What is strict here is strict at PayPal: JSON, required fields, amounts, states, tokens, request ids.
Everything is in memory. See server.py for the way of a call.
"""

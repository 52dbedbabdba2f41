"""Payment providers to test against: real HTTP servers, strict, stateful, and unreliable on demand.

Each provider is a package. What they share: how to be served (serving.py), how calls go wrong
(faults.py), how webhooks arrive (deliveries.py), what was called (calls.py), and how a test says so
(control.py).
"""

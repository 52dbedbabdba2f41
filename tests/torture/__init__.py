"""Torture: a whole shop of real processes at work while everything around it fails.

`python -m tests.torture --minutes 3 --seed 7`. A run has two phases. While faults strike, nothing may be
lost, doubled or told wrongly (safety). Then everything is healed, and everything must come to its end
(liveness). The clients' own history is held against the database, the provider's account and the views.

    links.py      a TCP proxy between every two parties, which can be spoilt
    shop.py       servers, services and links: what runs
    history.py    what clients asked, when, and what came of it
    calls.py      a client that may give up, ask another process, or ask two at once
    workload.py   buyers and readers, and in staff.py staff; every decision is drawn from the seed
    faults.py     what goes wrong, each with a beginning and an end
    nemesis.py    when what goes wrong: a schedule drawn from the seed
    views.py      what there is to see, in answers and after each event
    evidence.py   what the database and the provider say
    checker.py    history + evidence -> what was broken: pure; of queries in reads.py, of what commands
                  asked for in shelves.py, orders.py, carts.py and money.py
    proof.py      what a run must have come by to prove anything
    kept.py       what is kept of a run that broke a promise, to judge it again without servers
    smallest.py   the smallest history that still shows a violation
    showing.py    how people read it
    running.py    one run, from the first customer to the verdict
"""

import os

# Servers are started again while gRPC's threads run. Its preparations for being forked would meet them.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

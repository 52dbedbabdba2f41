"""What a process logs counts when it says that something is wrong with us, and not with the world."""

import json

from tests.system.service_logs import error_in

FRAMES = [{"filename": f"/a/b/file{n}.py", "lineno": n, "name": f"function{n}"} for n in range(9)]


def test_a_warning_and_a_refusal_are_no_mistakes() -> None:
    assert error_in(json.dumps({"event": "waiting for a server", "level": "warning"})) is None
    assert error_in(json.dumps({"event": "refused", "level": "info"})) is None


def test_an_error_is_told_with_where_it_was_raised() -> None:
    raised = {"exc_type": "ValueError", "exc_value": "no such street", "frames": FRAMES}
    told = error_in(json.dumps({"event": "failed", "level": "error", "exception": [raised], "id": 7}))
    assert told is not None
    assert told.startswith("failed; ValueError: no such street, at file8.py:8 function8 < file7.py:7")
    assert "'id': 7" in told
    assert "function1" not in told


def test_what_python_writes_when_it_ends_is_a_mistake() -> None:
    assert error_in("Traceback (most recent call last):") is not None


def test_a_line_that_was_cut_off_by_a_kill_is_nothing() -> None:
    assert error_in('{"event": "failed", "level": "err') is None


def test_what_grpc_says_of_connections_is_nothing() -> None:
    line = "I1121 23:16:08.557697    4093 chttp2_transport.cc:1403] ipv4:127.0.0.1:29758: Got goaway"
    assert error_in(line) is None
    assert error_in(line.replace("I1121", "F1121")) is not None

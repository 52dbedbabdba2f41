"""What counts as a server's own memory, and what does not."""

import mmap
import os
import subprocess
import sys

import pytest
import redis

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.soak.servers import (
    PASSING,
    POSTGRES,
    VALKEY_KEYS,
    VALKEY_KEYS_KIB,
    VALKEY_REST,
    VALKEY_UNUSED,
    Servers,
    look_at_valkey,
    private_kib,
)

MIB = 1024 * 1024


def test_pages_that_processes_share_are_nobodys_own_and_those_of_one_are() -> None:
    nothing_kib = private_kib(os.getpid())
    with mmap.mmap(-1, 32 * MIB) as shared:
        touch(shared)
        shared_kib = private_kib(os.getpid()) - nothing_kib
    with mmap.mmap(-1, 32 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as private:
        touch(private)
        private_too_kib = private_kib(os.getpid()) - nothing_kib
    assert shared_kib < 1024
    assert 31 * 1024 < private_too_kib < 34 * 1024


def touch(pages: mmap.mmap) -> None:
    """Has the kernel find a place for each of them."""
    for first in range(0, len(pages), mmap.PAGESIZE):
        pages[first] = 1


@pytest.mark.parametrize(("title", "counts"), [("postgres: shopkeeper", True), (PASSING, False)])
def test_processes_that_one_has_started_count_unless_they_soon_end(title: str, *, counts: bool) -> None:
    holding = f"held = bytearray(b'1' * {32 * MIB}); print(flush=True); input()"
    before_kib = private_kib(os.getpid())
    with subprocess.Popen(
        [title, "-c", holding],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert (private_kib(os.getpid()) - before_kib > 16 * 1024) is counts
        child.communicate(b"\n")


def test_keys_of_valkey_are_told_from_what_is_beside_them(
    valkey: EmbeddedValkey, redis_url: str
) -> None:
    _, empty_kib, empty = look_at_valkey(redis_url, valkey.pid)
    # A connection's buffers are its own, and go with it.
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"order:{number}": b"x" * 1000 for number in range(2_000)})
        client.zadd("orders", {f"{number:0100}": number for number in range(2_000)})
    key_count, keys_kib, with_keys = look_at_valkey(redis_url, valkey.pid)
    with redis.Redis.from_url(redis_url) as client:
        for number in range(200):
            client.script_load(f"return '{number:02000}'")
    _, same_kib, with_scripts = look_at_valkey(redis_url, valkey.pid)
    assert key_count == 2_001
    assert empty_kib == 0
    assert 2_100 < keys_kib == same_kib < 3_500
    assert abs(with_keys[VALKEY_REST] - empty[VALKEY_REST]) < 100
    assert with_scripts[VALKEY_REST] - with_keys[VALKEY_REST] > 400


def test_a_look_counts_rows_keys_and_memory(
    postgres: EmbeddedPostgres, database_url: str, valkey: EmbeddedValkey, redis_url: str
) -> None:
    seen = Servers(database_url, redis_url, postgres.pid, valkey.pid).look()
    assert seen.rows["orders"] == seen.rows["carts that are kept"] == 0
    assert seen.rows[VALKEY_KEYS] == seen.rows[VALKEY_KEYS_KIB] == 0
    assert set(seen.memory_kib) == {POSTGRES, VALKEY_REST, VALKEY_UNUSED}
    assert seen.memory_kib[POSTGRES] > 1024

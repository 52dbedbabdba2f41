"""An older backup is put in the place of the database: what came after it never was, and all know it.

It is made and put back by what docs/operations.md tells an operator to type, with the programs that come
with the server.
"""

import subprocess
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from event_log.tokens import ConsistencyToken
from ops.account import postgres_programs, unprivileged
from ops.cli import app
from ops.embedded import EmbeddedPostgres
from ops.verify import Violation, verify
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2_grpc as stock_grpc
from shopkeeper.ordering.v1 import ordering_query_service_pb2 as order_pb
from shopkeeper.ordering.v1 import ordering_query_service_pb2_grpc as order_grpc
from shopkeeper.ordering.v1.ordering_pb2 import Order
from tests.eventually import eventually
from tests.system.client import DEADLINE_SECONDS, LOCATION, Client, new_id, reason_of
from tests.system.conftest import WholeShop, running_shop

SKU = "sku"
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
DUMP = 'pg_dump -Fc -f shop.dump "$DATABASE_URL"'
RENAME, CREATE = "ALTER DATABASE shop RENAME TO shop_broken;", "CREATE DATABASE shop;"
RESTORE = 'pg_restore --no-owner --single-transaction -d "$DATABASE_URL" shop.dump'
DROP = "DROP DATABASE shop_broken;"


class Shopper:
    """A client that sells, and looks at what it sold."""

    def __init__(self, shop: WholeShop) -> None:
        self.commands = Client(shop.command_address)
        self.channel = grpc.aio.insecure_channel(
            shop.query_address, options=(("grpc.use_local_subchannel_pool", 1),)
        )
        self.stock = stock_grpc.InventoryQueryServiceStub(self.channel)
        self.orders = order_grpc.OrderingQueryServiceStub(self.channel)

    async def sell(self) -> Order:
        """Sells one unit."""
        return await self.commands.place(await self.commands.fill_cart({SKU: 1}))

    async def receive(self, quantity: int) -> str:
        """Takes delivery, and returns the consistency token."""
        row = inventory_pb.StockRow(sku_id=SKU, location_id=LOCATION, quantity=quantity)
        request = inventory_pb.ReceiveStockRequest(request_id=new_id(), rows=[row])
        answer = await self.commands.inventory.ReceiveStock(request, timeout=DEADLINE_SECONDS)
        return answer.consistency_token

    async def available(self, token: str) -> int:
        """What can be had, at least as fresh as a token."""
        request = stock_pb.GetStockRequest(sku_id=SKU, at_least_as_fresh=token)
        return (await self.stock.GetStock(request, timeout=DEADLINE_SECONDS)).stock.available

    async def shown(self, order: Order, token: str) -> Order:
        """The order as it is shown."""
        request = order_pb.GetOrderRequest(order_id=order.order_id, at_least_as_fresh=token)
        return (await self.orders.GetOrder(request, timeout=DEADLINE_SECONDS)).order

    async def close(self) -> None:
        """Closes both connections."""
        await self.commands.channel.close()
        await self.channel.close()


class Operator:
    """Types at a terminal; where it says shop, psql is told the name of the test's database."""

    def __init__(self, postgres: EmbeddedPostgres, database_url: str, folder: Path) -> None:
        self._folder = folder
        self._database = database_url.rpartition("/")[2]
        path = f"{postgres_programs(unprivileged())}:/usr/bin:/bin"
        self._environment = {"PATH": path, "DATABASE_URL": database_url, "ADMIN_URL": postgres.url()}

    def type(self, command: str) -> None:
        typed = ["/bin/sh", "-c", command]
        subprocess.run(typed, check=True, cwd=self._folder, env=self._environment, timeout=120)

    def type_into_psql(self, statement: str) -> None:
        statement = statement.replace("shop", self._database)
        self.type(f"psql \"$ADMIN_URL\" -X -q -v ON_ERROR_STOP=1 -c '{statement}'")


def test_the_passage_has_the_commands_that_are_tried_here() -> None:
    passage = OPERATIONS.read_text().partition("## Restore from a backup")[2].partition("\n## ")[0]
    for command in (DUMP, RENAME, CREATE, RESTORE, DROP):
        assert f"`{command}`" in passage
    steps = ("new-incarnation", "reconcile --provider", "Start the s")
    renewed, asked, started = map(passage.index, steps)
    assert renewed < asked < started


@pytest.mark.timeout(240)
async def test_after_the_restore_of_an_older_backup_all_agree_on_what_was(
    postgres: EmbeddedPostgres, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    operator = Operator(postgres, database_url, tmp_path)
    async with running_shop(database_url, redis_url) as shop:
        shopper = Shopper(shop)
        await shopper.commands.open_shop([SKU], 100)
        kept = await shopper.sell()
        kept_token = await shopper.receive(1)
        assert await shopper.available(kept_token) == 100
        await shopper.close()

    operator.type(DUMP)
    async with running_shop(database_url, redis_url) as shop:
        shopper = Shopper(shop)
        lost = [await shopper.sell() for _ in range(5)]
        lost_token = await shopper.receive(1000)
        assert await shopper.available(lost_token) == 1095
        await shopper.close()

    operator.type_into_psql(RENAME)
    operator.type_into_psql(CREATE)
    operator.type(RESTORE)
    renewed = CliRunner().invoke(app, ["new-incarnation", "--yes"], env={"DATABASE_URL": database_url})
    assert renewed.exit_code == 0, renewed.output

    async with running_shop(database_url, redis_url) as shop:
        await goes_on_with_what_was_kept(shop, kept, lost, [kept_token, lost_token])
        assert await violations(shop) == []
    operator.type_into_psql(DROP)


async def goes_on_with_what_was_kept(
    shop: WholeShop, kept: Order, lost: list[Order], old_tokens: list[str]
) -> None:
    shopper = Shopper(shop)
    token = await shopper.receive(7)
    # The first query may still find the views of the log that was, or none: never a wrong answer.
    await eventually(lambda: is_available(shopper, token, 107), seconds=30)
    assert positions_are_used_twice(token, old_tokens)
    assert (await shopper.shown(kept, token)).order_number == kept.order_number
    for order in lost:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await shopper.shown(order, token)
        assert reason_of(unknown.value) == "ORDER_NOT_FOUND"
    for old_token in old_tokens:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shopper.available(old_token)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refused.value) == "LOG_INCARNATION_CHANGED"
    sold = await shopper.sell()
    assert sold.order_number not in {order.order_number for order in (kept, *lost)}
    newest = await shopper.receive(1)
    assert (await shopper.shown(sold, newest)).order_number == sold.order_number
    assert await shopper.available(newest) == 107
    await shopper.close()


async def is_available(shopper: Shopper, token: str, expected: int) -> bool:
    """False while there are no views that are new enough; another number fails the test at once."""
    try:
        available = await shopper.available(token)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    assert available == expected
    return True


def positions_are_used_twice(token: str, old_tokens: list[str]) -> bool:
    """Whether the restored log gave to others what the lost one had given away already."""
    now = ConsistencyToken.parse(token)
    kept, lost = map(ConsistencyToken.parse, old_tokens)
    return kept.position < now.position <= lost.position and now.incarnation != lost.incarnation


async def violations(shop: WholeShop) -> list[Violation]:
    return await verify(shop.database_url, shop.redis_url, on_progress=lambda _what, _done, _of: None)

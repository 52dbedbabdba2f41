"""Writers and readers over real sockets, who notice every answer that is missing, older or wrong."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2_grpc as stock_grpc
from tests.system.client import DEADLINE_SECONDS, LOCATION, Client, new_id, reason_of
from tests.system.conftest import WholeShop

WRITER_COUNT = 8
READER_COUNT = 8
SKU_IDS = [f"sku-{number}" for number in range(WRITER_COUNT)]


class Traffic:
    """Each writer takes delivery of a SKU of its own and asks at once what there is; readers ask on.

    written: what must be shown in the end. answered: how often, by reason; "OK" for answers.
    lies: (SKU, what was shown, what must be shown at least).
    """

    def __init__(self, shop: WholeShop) -> None:
        self._shop = shop
        self._shown: Counter[str] = Counter()
        self._is_over = False
        self.written: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.lies: list[tuple[str, int, int]] = []
        self.newest_token = ""

    async def open_shop(self) -> None:
        """Makes the SKUs, with a unit each: from then on none of them may be denied."""
        async with Client(self._shop.command_address) as client:
            await client.open_shop(SKU_IDS, 1)
        self.written.update(SKU_IDS)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Writes and reads while the block runs."""
        tasks = [asyncio.create_task(self._write(sku_id)) for sku_id in SKU_IDS]
        tasks += [asyncio.create_task(self._read(number)) for number in range(READER_COUNT)]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*tasks)

    async def all_is_shown(self) -> bool:
        """Whether every SKU shows what was written, to who asks without a token."""
        async with _queries(self._shop) as stock:
            for sku_id in SKU_IDS:
                try:
                    answer = await stock.GetStock(stock_pb.GetStockRequest(sku_id=sku_id), timeout=5)
                except grpc.aio.AioRpcError:
                    return False
                if answer.stock.available != self.written[sku_id]:
                    return False
        return True

    async def _write(self, sku_id: str) -> None:
        async with Client(self._shop.command_address) as client, _queries(self._shop) as stock:
            while not self._is_over:
                row = inventory_pb.StockRow(sku_id=sku_id, location_id=LOCATION, quantity=1)
                request = inventory_pb.ReceiveStockRequest(request_id=new_id(), rows=[row])
                answer = await client.inventory.ReceiveStock(request, timeout=DEADLINE_SECONDS)
                self.written[sku_id] += 1
                self.newest_token = answer.consistency_token
                await self._ask(stock, sku_id, self.written[sku_id], answer.consistency_token)

    async def _read(self, number: int) -> None:
        async with _queries(self._shop) as stock:
            while not self._is_over:
                sku_id = SKU_IDS[number % len(SKU_IDS)]
                number += 1
                await self._ask(stock, sku_id, self._shown[sku_id], "")

    async def _ask(
        self,
        stock: stock_grpc.InventoryQueryServiceStub,
        sku_id: str,
        at_least: int,
        token: str,
    ) -> None:
        request = stock_pb.GetStockRequest(sku_id=sku_id, at_least_as_fresh=token)
        try:
            answer = await stock.GetStock(request, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.answered[reason_of(error)] += 1
            # As RetryInfo asks for, in short: who is told to come back does not spin.
            await asyncio.sleep(0.02)
            return
        self.answered["OK"] += 1
        available = answer.stock.available
        if available < at_least:
            self.lies.append((sku_id, available, at_least))
        self._shown[sku_id] = max(available, self._shown[sku_id])


@asynccontextmanager
async def _queries(shop: WholeShop) -> AsyncIterator[stock_grpc.InventoryQueryServiceStub]:
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(shop.query_address, options=options) as channel:
        yield stock_grpc.InventoryQueryServiceStub(channel)

"""What is read of stock along with its locations, and of these along with their stock."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from command_service.inventory.domain import COUNTERS, Location, Stock
from command_service.world import LockRank


def active_locations(rows: Mapping[tuple[LockRank, Any], Any]) -> Mapping[str, bool]:
    """Whether each location is open."""
    return {
        key: row.active
        for (rank, key), row in rows.items()
        if rank is LockRank.LOCATION and isinstance(row, Location)
    }


def with_active_locations(stock: Stock | None, is_active: Mapping[str, bool]) -> Stock | None:
    """The stock as it is read with its locations. Those that are not in is_active are as they were."""
    if stock is None:
        return None
    levels = tuple(
        level
        if is_active.get(level.location_id, level.active) is level.active
        else replace(level, active=not level.active)
        for level in stock.levels
    )
    return stock if levels == stock.levels else Stock(stock.sku_id, levels)


def is_empty_location(rows: Mapping[tuple[LockRank, Any], Any], location_id: str) -> bool:
    """True when no counter of any level at the location is anything but 0."""
    for (rank, _), row in rows.items():
        if rank is LockRank.STOCK and isinstance(row, Stock):
            level = row.level_at(location_id)
            if level is not None and any(getattr(level, name) for name in COUNTERS):
                return False
    return True

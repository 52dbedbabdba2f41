"""Who orders and where the goods go, as far as the file knows: a number and a country. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from ops.demo.sales import Line
from shopkeeper.types.v1.contact_pb2 import Contact, PostalAddress

REGION_CODES: Mapping[str, str] = MappingProxyType(
    {
        "Australia": "AU",
        "Belgium": "BE",
        "EIRE": "IE",
        "France": "FR",
        "Germany": "DE",
        "Italy": "IT",
        "Japan": "JP",
        "Lithuania": "LT",
        "Netherlands": "NL",
        "Norway": "NO",
        "Poland": "PL",
        "Portugal": "PT",
        "Spain": "ES",
        "Switzerland": "CH",
        "United Kingdom": "GB",
    }
)
"""ISO 3166-1 alpha-2 codes of the countries in the file."""


def customer_id(line: Line) -> str:
    """Whose line it is; empty for a guest."""
    return f"customer-{line.customer}" if line.customer else ""


def contact(line: Line) -> Contact:
    """A guest leaves a country only."""
    email = f"{customer_id(line)}@example.com" if line.customer else ""
    return Contact(email=email, shipping_address=PostalAddress(region_code=REGION_CODES[line.country]))

"""Who ordered: personal data, apart from all that events and views tell. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """A postal address; fields as in contact.proto. Personal data."""

    recipient: str
    address_lines: tuple[str, ...]
    locality: str
    administrative_area: str
    postal_code: str
    region_code: str


@dataclass(frozen=True, slots=True)
class Contact:
    """How to reach the buyer, and the buyer's words. Personal data: never in an event."""

    email: str
    full_name: str
    phone: str
    shipping_address: PostalAddress | None
    billing_address: PostalAddress | None
    notes: str

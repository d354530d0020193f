"""What the sample servers know: a small shop's products, orders and the meaning of its words."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ALIASES", "FIELDS", "ORDERS", "PRODUCTS", "READY", "ROLES", "Role", "resource_uri"]

READY = "listening on "
"""What an HTTP server says on standard output, followed by its address, as soon as it can be connected to."""

PRODUCTS = [
    {"sku": "TEA-001", "name": "Green Tea", "price": 6.5, "currency": "EUR", "stock": 120, "category": "drinks"},
    {"sku": "TEA-002", "name": "Black Tea", "price": 5.9, "currency": "EUR", "stock": 80, "category": "drinks"},
    {"sku": "CUP-010", "name": "Tea Cup", "price": 12.0, "currency": "EUR", "stock": 34, "category": "tableware"},
    {"sku": "POT-007", "name": "Tea Pot", "price": 39.0, "currency": "EUR", "stock": 9, "category": "tableware"},
]
ORDERS = [
    {"id": "A-1001", "sku": "TEA-001", "quantity": 3, "status": "shipped"},
    {"id": "A-1002", "sku": "POT-007", "quantity": 1, "status": "paid"},
    {"id": "A-1003", "sku": "CUP-010", "quantity": 6, "status": "open"},
]
ALIASES = {"mug": "CUP-010", "kettle": "POT-007", "sencha": "TEA-001", "earl grey": "TEA-002"}
FIELDS = {
    "sku": "Stock keeping unit: what identifies a product.",
    "price": "Price of one piece, VAT included.",
    "stock": "Pieces on the shelf.",
    "status": "open, paid or shipped.",
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """What one of the servers is for."""

    title: str
    resources: Mapping[str, tuple[str, object]]
    """Name to description and contents."""


ROLES: Mapping[str, Role] = {
    "products": Role(
        title="Product Catalogue",
        resources={
            "products.json": ("Every product, with today's price and stock", PRODUCTS),
            "categories.json": ("The categories of products", sorted({str(p["category"]) for p in PRODUCTS})),
        },
    ),
    "orders": Role(
        title="Order Desk",
        resources={
            "orders.json": ("Every order", ORDERS),
            "open_orders.json": ("Orders that wait for something", [o for o in ORDERS if o["status"] != "shipped"]),
        },
    ),
    "metadata": Role(
        title="Metadata Library",
        resources={
            "fields.json": ("What the fields of products and orders mean", FIELDS),
            "aliases.json": ("Other words for products", ALIASES),
            "products.json": (
                "Last night's copy of the products, without stock",
                [{key: value for key, value in product.items() if key != "stock"} for product in PRODUCTS],
            ),
        },
    ),
}


def resource_uri(role: str, name: str) -> str:
    """Return the URI of a resource: its scheme tells who answered."""
    return f"{role}://shop/{name}"

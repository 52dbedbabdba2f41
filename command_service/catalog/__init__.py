"""What the shop sells: products and SKUs."""

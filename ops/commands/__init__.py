"""The commands of `shopkeeper`, one module for each group of them."""

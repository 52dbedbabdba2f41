"""Money at payment providers, and what is still to be asked of them."""

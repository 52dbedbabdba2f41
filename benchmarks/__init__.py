"""How fast the shop is, beside its physical limit or plain alternative, measured in the same run."""

"""Any bytes and any values at every RPC: strategies made from the descriptors."""

"""A whole shop at steady load for a while: nothing may grow that need not."""

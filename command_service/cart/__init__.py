"""What people are about to buy."""

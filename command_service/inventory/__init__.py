"""What is on the shelves and who holds it."""

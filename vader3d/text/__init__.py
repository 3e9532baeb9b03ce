"""What is said of objects, as networks read it."""

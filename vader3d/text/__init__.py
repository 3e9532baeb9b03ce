"""What is said of objects."""

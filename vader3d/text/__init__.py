"""What is said of objects, and what of it stage 2 must not see."""

"""What is said of objects, as networks read it, and what of it stage 2 must not see."""

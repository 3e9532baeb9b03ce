"""march.cpp and what compiles it."""

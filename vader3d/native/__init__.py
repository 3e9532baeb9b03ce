"""The C++ that renders and measures on CPUs, and how it is built and found."""

"""The C++ that renders and measures on CPUs."""

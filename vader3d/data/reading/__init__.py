"""Readers: one foreign format a file."""

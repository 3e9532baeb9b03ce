"""The whole road in one command."""

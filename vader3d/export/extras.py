"""Packages that some formats ask for beyond our own dependencies."""

import importlib.util

EXTRAS = {"pxr": "usd", "av": "video"}  # the package that is imported, and our extra that brings it


def needed(package: str) -> None:
    """ImportError, which says what to install, where a package of `EXTRAS` is not here."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{package}: wanted for this format; got none; pip install 'vader3d[{EXTRAS[package]}]'")

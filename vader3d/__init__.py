"""vader3d: 2D pictures in, a generator of 3D assets out."""

__version__ = "0.1.0"
__all__ = ["Asset", "Generator", "__version__"]


def __getattr__(name: str):
    """`Generator` and `Asset` are imported when first asked for, so that `import vader3d` stays quick."""
    if name in ("Asset", "Generator"):
        from vader3d import generate

        return getattr(generate, name)
    raise AttributeError(f"module 'vader3d' has no attribute {name!r}")

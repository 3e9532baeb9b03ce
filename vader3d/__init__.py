"""vader3d: 2D pictures in, a generator of 3D assets out."""

__version__ = "0.1.0"

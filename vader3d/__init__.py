"""vader3d: 2D pictures in, a generator of 3D assets out."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Asset", "Cameras", "Generator", "Volume", "__version__", "render_volume"]

if TYPE_CHECKING:
    from vader3d.assets import Asset
    from vader3d.generate import Generator
    from vader3d.geometry.cameras import Cameras
    from vader3d.render import Volume, render_volume
else:

    def __getattr__(name):
        """The names above, each imported when first asked for, so that `import vader3d` stays quick."""
        homes = {
            "Asset": "vader3d.assets",
            "Cameras": "vader3d.geometry.cameras",
            "Generator": "vader3d.generate",
            "Volume": "vader3d.render",
            "render_volume": "vader3d.render",
        }
        if name not in homes:
            raise AttributeError(f"module 'vader3d' has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

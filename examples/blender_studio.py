"""A Blender script that makes objects through a studio and puts them side by side into the scene.

    VADER3D_TOKEN=... blender --python examples/blender_studio.py -- http://127.0.0.1:7860 "a red chair" 3

The address, a prompt ("" for whatever the model knows) and how many. Blender's own Python needs the client alone:
`pip install --no-deps vader3d` there.
"""

import os
import sys
import tempfile
from pathlib import Path

from vader3d.studio.client import Client

APART = 1.2  # of the longest side


def main(address: str, prompt: str = "", count: str = "1") -> None:
    import bpy  # type: ignore[import-not-found]  # Blender's

    client = Client(address, os.environ.get("VADER3D_TOKEN", ""))
    with tempfile.TemporaryDirectory() as folder:
        for place, asset in enumerate(client.make(prompts=[prompt], count=int(count))):
            path = Path(folder) / f"{asset}.glb"
            client.save(asset, path)
            bpy.ops.import_scene.gltf(filepath=str(path))
            for made in bpy.context.selected_objects:  # what was just imported
                made.location.x += place * APART * max(made.dimensions)


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    if not arguments:
        raise SystemExit(__doc__)
    main(*arguments)

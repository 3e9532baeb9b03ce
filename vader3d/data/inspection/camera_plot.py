"""One HTML page that turns cameras, cube and hull in 3D."""

import base64
import io
from pathlib import Path

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.inspection.hull import hull_surface, visual_hull

FOLDER = Path(__file__).parent
STRIP_PX, WIDEST_WEBP = 144, 16383
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def camera_plot(title: str, objects: list[tuple[str, ObjectViews, list[int]]]) -> str:
    """The page for (name, views, held-out view numbers) triples.

    It shows the cube [-1, 1]^3 with its axes, each camera's pyramid with its picture on request, and the visual hull,
    coloured by the pictures. Where the cameras are right the hull looks like the object.
    """
    from jinja2 import Template
    from markupsafe import Markup

    page, style, script = ((FOLDER / f"camera_plot.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return Template(page, autoescape=True).render(
        title=title,
        policy=POLICY,
        scenes=[scene_of(name, views, heldout) for name, views, heldout in objects],
        style=Markup(style),
        script=Markup(script),
    )


def scene_of(name: str, views: ObjectViews, heldout: list[int]) -> dict:
    points, colours = hull_surface(views, visual_hull(views))
    return {
        "name": name,
        "cameras": [pyramid(views, view) for view in range(len(views.pictures))],
        "heldout": heldout,
        "points": points.round(3).tolist(),
        "colours": ["#" + bytes(colour).hex() for colour in colours],
        "strip": picture_strip(views),
        "size": [views.cameras.width, views.cameras.height],
    }


def pyramid(views: ObjectViews, view: int) -> list[list[float]]:
    """Apex and four corners (top left, top right, bottom right, bottom left) of a small camera, in the world."""
    cameras = views.cameras[view]
    fx, fy, cx, cy = cameras.intrinsics.tolist()
    length = 0.12 * float(cameras.centres.norm())
    corners = [[0, 0], [cameras.width, 0], [cameras.width, cameras.height], [0, cameras.height]]
    local = torch.tensor([[0.0, 0, 0], *([(x - cx) / fx, (y - cy) / fy, 1.0] for x, y in corners)]) * length
    world = local @ cameras.world_from_camera[:3, :3].T + cameras.centres
    return np.round(world.tolist(), 3).tolist()


def picture_strip(views: ObjectViews) -> str:
    """All pictures side by side, as large as they are shown and as WebP can be wide, as one data URL."""
    from PIL import Image

    count, height, width, _ = views.pictures.shape
    shrink = min(1.0, STRIP_PX / width, WIDEST_WEBP / count / width)
    w, h = max(1, int(width * shrink)), max(1, round(height * shrink))
    strip = Image.new("RGBA", (w * count, h))
    for number, picture in enumerate(views.pictures):
        strip.paste(Image.fromarray(picture, "RGBA").resize((w, h), Image.Resampling.BOX), (w * number, 0))
    data = io.BytesIO()
    strip.save(data, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()

"""Volumes to pictures: one door (`render_volume`), several back-ends."""

from vader3d.render.pictures import Rendering, render_views, render_volume
from vader3d.render.settings import March, RenderConfig
from vader3d.render.volume import Volume

__all__ = ["March", "RenderConfig", "Rendering", "Volume", "render_views", "render_volume"]

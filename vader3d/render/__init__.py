"""Volumes to pictures: one door (`render_volume`), several back-ends."""

from vader3d.render.pictures import RenderConfig, render_views
from vader3d.render.volume import Rendering, Volume, render_volume

__all__ = ["RenderConfig", "Rendering", "Volume", "render_views", "render_volume"]

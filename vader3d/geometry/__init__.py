"""Cameras, rays, and the rigid geometry between them."""

"""Makers of posed pictures: from meshes, from our own generator; many objects into one archive."""

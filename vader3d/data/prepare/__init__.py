"""Makers of posed pictures: from meshes, from our own generator."""

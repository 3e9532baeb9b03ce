"""Posed pictures of many objects: the archive, its readers and its makers."""

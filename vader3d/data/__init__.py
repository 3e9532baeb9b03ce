"""Posed pictures of many objects: archives, readers, makers, batches."""

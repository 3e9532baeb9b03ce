"""One file of posed pictures of many objects."""

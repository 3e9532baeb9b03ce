"""Makers of posed pictures, and many objects into one data set."""

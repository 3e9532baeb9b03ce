"""Batches of posed views for training."""

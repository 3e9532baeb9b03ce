"""Ablations: variants of one model, trained alike, judged alike, over several seeds."""

"""Ablations: variants trained alike, judged by one protocol."""

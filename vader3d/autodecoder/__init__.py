"""Stage 1: codes to latents to volumes, learned from posed pictures."""

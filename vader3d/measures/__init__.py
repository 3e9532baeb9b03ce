"""Scores as pure functions of pictures, features, points and latents."""

"""Stage 2: an EDM diffusion model over normalised latents."""

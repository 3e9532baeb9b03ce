"""Noise and words to objects: the two stages meet here, and only here."""

from vader3d.generate.generator import Generator as Generator

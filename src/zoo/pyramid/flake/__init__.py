"""Flake hunting on any pytest suite: repeat under varied settings, decide, name the cause."""

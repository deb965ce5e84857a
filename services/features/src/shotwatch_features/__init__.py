"""Measures each shot: beam, spectrum, energy."""

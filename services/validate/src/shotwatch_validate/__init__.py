"""Judges each record."""

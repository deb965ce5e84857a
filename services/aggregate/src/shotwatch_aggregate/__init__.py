"""Joins records into shots."""

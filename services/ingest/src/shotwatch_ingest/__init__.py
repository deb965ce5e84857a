"""Reads snapshot files from the bucket into blocks."""

"""Snapshot files: a simulated laser with labelled anomalies, or recorded images in snapshot files."""

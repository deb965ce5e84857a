"""Scores each shot and publishes anomaly events."""

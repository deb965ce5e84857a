"""The service that scores each shot and publishes anomaly events."""

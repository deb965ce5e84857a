"""What every service shares at the edges: broker, database, store, model registry, telemetry, process."""

"""The edges that every service shares: broker, database, object store, model registry, telemetry, process."""

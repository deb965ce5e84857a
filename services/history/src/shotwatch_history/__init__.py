"""The service that keeps each camera's reference, and reports slow changes and drift."""

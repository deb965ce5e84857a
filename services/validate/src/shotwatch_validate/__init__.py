"""The service that judges each record."""

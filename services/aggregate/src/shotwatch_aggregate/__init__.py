"""The service that joins records into shots."""

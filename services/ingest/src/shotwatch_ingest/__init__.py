"""The service that reads snapshot files from the bucket into blocks."""

"""The service that builds training sets and models."""

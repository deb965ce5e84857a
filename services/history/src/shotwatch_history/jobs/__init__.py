"""The periodic jobs of the service, one module each."""

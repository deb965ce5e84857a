"""The service that measures each shot: beam, spectrum, energy."""

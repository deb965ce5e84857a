"""The service that serves the REST API, the stream of events and the operators' page."""

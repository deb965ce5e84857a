"""The embedded stack: RabbitMQ, a MongoDB-wire server, an S3 server and MLflow on free ports, and the
supervisor of the services on them.

`stack` runs one; `description` finds those that run, and imports little; `services` says what runs on them;
`install` sees to RabbitMQ.
"""

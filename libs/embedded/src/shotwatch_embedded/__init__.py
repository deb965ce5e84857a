"""The embedded stack: RabbitMQ, a MongoDB-wire server, an S3 server and MLflow on free ports, with a
supervisor for the services that use them.

`stack` runs a stack; `description` finds running stacks and imports little; `services` lists the services;
`install` installs RabbitMQ.
"""

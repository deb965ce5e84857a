"""The language of the domain: places, records, batches, events. Pure: no I/O, no framework, no clock."""

"""Training sets in the object store, as TFRecords: `python -m shotwatch_training.datasets` manages them.

`choosing` finds the examples for a query, `making` writes them, `store` keeps the shards and the manifest,
`checking` compares a set with its sources, and `reading` streams it for training.
"""

from shotwatch_training import matplotlib_settings as matplotlib_settings

"""Records what this process does, unless it is a child with an environment of its own."""

import os

if "RECORD_TO" in os.environ:
    import recording  # noqa: F401

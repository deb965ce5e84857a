"""The networks: their architectures, how they are fitted, and how one of them is chosen."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

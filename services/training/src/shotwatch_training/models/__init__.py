"""The networks: their architectures, how they are fitted, and how one of them is chosen."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shotwatch_training import matplotlib_settings as matplotlib_settings

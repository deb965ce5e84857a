"""The networks: their architectures, how they are fitted, and how one of them is chosen."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Keras reads its settings from ~/.keras, or from /tmp/.keras where the home is not writable: anybody's.
os.environ.setdefault("KERAS_HOME", os.devnull)

from shotwatch_training import matplotlib_settings as matplotlib_settings

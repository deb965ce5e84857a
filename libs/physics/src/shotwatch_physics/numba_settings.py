"""Numba without the settings of the current folder.

Numba reads `.numba_config.yaml` in the current folder when it is imported, and again when it compiles.
Another user may have put it there: with `cache_dir` it makes Numba load pickles, which run any code. Each
package that uses Numba imports this module before its others.
"""

import os
from contextlib import chdir
from pathlib import Path

with chdir(Path(__file__).parent):
    from numba.core import config

config._config_fname = os.devnull

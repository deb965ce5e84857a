"""Matplotlib without the settings of the current folder.

Matplotlib reads `matplotlibrc` in the current folder when it is imported. Another user may have put it there:
with `text.latex.preamble` it makes LaTeX read any file, and with `backend` it makes Python import any module.
Keras and MLflow import Matplotlib, too. Each package that uses one of them imports this module before its
others.
"""

from contextlib import chdir
from pathlib import Path

with chdir(Path(__file__).parent):
    import matplotlib as matplotlib

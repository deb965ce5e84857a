"""Run the service: `python -m shotwatch_history`."""

from shotwatch_common.process import run
from shotwatch_history.service import assemble
from shotwatch_history.settings import HistorySettings

if __name__ == "__main__":
    run("history", HistorySettings, assemble)

"""Run the service: `python -m shotwatch_history`. No shot waits for it, so it yields the cores."""

from shotwatch_common.process import run
from shotwatch_common.turns import yield_cores
from shotwatch_history.service import assemble
from shotwatch_history.settings import HistorySettings

if __name__ == "__main__":
    yield_cores()
    run("history", HistorySettings, assemble)

"""Run the service: `python -m shotwatch_aggregate`."""

from shotwatch_aggregate.service import assemble
from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_common.process import run

if __name__ == "__main__":
    run("aggregate", AggregateSettings, assemble)

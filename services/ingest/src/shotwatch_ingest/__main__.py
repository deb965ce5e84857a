"""Run the service: `python -m shotwatch_ingest`."""

from shotwatch_common.process import run
from shotwatch_ingest.service import assemble
from shotwatch_ingest.settings import IngestSettings

if __name__ == "__main__":
    run("ingest", IngestSettings, assemble)

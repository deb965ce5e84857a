"""Run the service: `python -m shotwatch_features`."""

from shotwatch_common.process import run
from shotwatch_features.service import assemble
from shotwatch_features.settings import FeaturesSettings

if __name__ == "__main__":
    run("features", FeaturesSettings, assemble)

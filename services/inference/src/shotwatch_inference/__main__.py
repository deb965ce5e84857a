"""Run the service: `python -m shotwatch_inference`."""

from shotwatch_common.process import run
from shotwatch_inference.service import assemble
from shotwatch_inference.settings import InferenceSettings

if __name__ == "__main__":
    run("inference", InferenceSettings, assemble)

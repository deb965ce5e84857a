"""Run the service: `python -m shotwatch_validate`."""

from shotwatch_common.process import run
from shotwatch_validate.service import assemble
from shotwatch_validate.settings import ValidateSettings

if __name__ == "__main__":
    run("validate", ValidateSettings, assemble)

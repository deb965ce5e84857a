"""Long work that runs in a process of its own, which reports its steps line by line."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from subprocess import PIPE, Popen
from tempfile import TemporaryFile

from shotwatch_cli.answers import Answer
from shotwatch_cli.failures import Failure

Step = Answer
"""One line of progress: `step` and its figures."""


def run_steps(
    module: str,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    report: Callable[[Step], None] = lambda _: None,
) -> Step:
    """Run a Python module and call `report` with each step. Return the last step, empty if there is none.

    Nothing is imported from the current folder, which may belong to another user.

    Raises:
        Failure: the process failed; the message gives the reason.
    """
    step: Step = {}
    command = [sys.executable, "-P", "-m", module, *arguments]
    with TemporaryFile("w+") as errors:
        with Popen(command, env=dict(environment), stdout=PIPE, stderr=errors, text=True) as process:  # noqa: S603 - our own
            assert process.stdout is not None
            for line in process.stdout:
                step = json.loads(line)
                report(step)
        if process.returncode == 0:
            return step
        if "why" in step:
            raise Failure(step["why"])
        errors.seek(0)
        last_words = "".join(errors.readlines()[-20:])
    raise Failure(f"{module} ended with exit code {process.returncode}: {last_words}")

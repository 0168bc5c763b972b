"""The lock of an experiment: one run at a time, and none kept out by a run that is dead."""

import os
import subprocess
import sys

import pytest

from ekman_expressions import Experiment
from ekman_expressions.core.errors import ConflictError
from ekman_expressions.study.steps import _experiment_lock

HOLD = """
import sys, time
from ekman_expressions import Experiment
from ekman_expressions.study.steps import _experiment_lock
with _experiment_lock(Experiment.preset("smoke", root=sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_is_not_in_the_way(experiment):
    description = experiment.results_folder / ".lock.json"
    command = [sys.executable, "-c", HOLD, str(experiment.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(ConflictError, match="wait for it") as error, _experiment_lock(experiment):
                pass
            assert f"process {process.pid} on {os.uname().nodename}" in str(error.value)
            # A description that was cut off is in nobody's way.
            description.write_text("{")
            with pytest.raises(ConflictError, match="an unknown machine"), _experiment_lock(experiment):
                pass
        finally:
            process.kill()
    # Other experiments have their own.
    other = Experiment.preset("demo", root=experiment.root)
    with _experiment_lock(experiment), _experiment_lock(other):
        assert str(os.getpid()) in description.read_text()
    assert not description.exists()

"""Where on the face does an expression classifier look, and is that where human faces move?"""

import os

# Before TensorFlow is imported anywhere: its start-up notes would bury the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from ekman_expressions.core.expressions import EXPRESSIONS  # noqa: E402
from ekman_expressions.study.experiment import Experiment  # noqa: E402
from ekman_expressions.zoo.own_settings import OwnModel  # noqa: E402

__version__ = "0.1.0"
__all__ = ["EXPRESSIONS", "Experiment", "OwnModel"]

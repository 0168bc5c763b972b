"""Detect the landmarks of the bundled faces once, so that `example_faces` crops without a detector.

Points are kept as MediaPipe gives them, in units of the image's side and single precision, so that
times the side they are what the step 'faces' detects, to the bit on the same machine.
"""

import numpy as np

from ekman_expressions.core.files import read_image, write_arrays
from ekman_expressions.faces import LandmarkDetector, synthetic

rows = synthetic.load()
side, points = 224, []
with LandmarkDetector() as detector:
    for path in rows["path"]:
        found = detector.detect(read_image(path))
        assert found.look == "whole"
        points.append(np.float32(found.points / side))
        assert (points[-1].astype(np.float64) * side == found.points).all()
arrays = {"image_id": rows["image_id"].to_numpy(str), "points": np.array(points), "side": np.array(side)}
write_arrays(synthetic.folder() / "detected.npz", arrays)

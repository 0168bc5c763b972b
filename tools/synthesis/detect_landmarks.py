"""Detect the landmarks of the bundled faces once, so that `example_faces` crops without a detector.

Points are kept as MediaPipe gives them, in units of the image's side and single precision, so that
times the side they are what the step 'faces' detects, to the bit on the same machine. Prints how far they
lie from the mesh's landmarks, by skin: the table of the data card.
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

truth = synthetic.mesh_landmarks()
meshes = np.array([truth[image_id] for image_id in rows["image_id"]])
eyes = np.linalg.norm(meshes[:, 36] - meshes[:, 45], axis=1)
away = 100 * np.linalg.norm(side * arrays["points"] - meshes, axis=2).mean(axis=1) / eyes
by_skin = rows.assign(error=away).groupby("skin_group")
print(by_skin["error"].describe(percentiles=[0.5, 0.95]).round(2).assign(persons=by_skin["subject"].nunique()))
print(f"all: {away.mean():.2f} % of the distance of the outer eye corners")

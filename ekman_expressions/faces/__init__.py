"""Faces: finding and cropping them, landmarks, databases, and the synthetic faces."""

from ekman_expressions.faces.databases import DATABASES
from ekman_expressions.faces.faces import Faces, example_faces, load_faces
from ekman_expressions.faces.landmarks import FaceLandmarks, LandmarkDetector, landmark_outliers
from ekman_expressions.faces.surveys import Survey, catalogue, check_options, survey

__all__ = [
    "DATABASES",
    "FaceLandmarks",
    "Faces",
    "LandmarkDetector",
    "Survey",
    "catalogue",
    "check_options",
    "example_faces",
    "landmark_outliers",
    "load_faces",
    "survey",
]

"""Faces: finding and cropping them, landmarks, subject-wise folds, databases, and the synthetic faces."""

from ekman_expressions.faces.cropping import crop_face
from ekman_expressions.faces.databases import DATABASES
from ekman_expressions.faces.faces import Faces, example_faces, load_faces
from ekman_expressions.faces.folds import assign_folds
from ekman_expressions.faces.landmarks import (
    FaceLandmarks,
    LandmarkDetector,
    landmark_outliers,
)
from ekman_expressions.faces.surveys import Survey, catalogue, check_options, survey

__all__ = [
    "DATABASES",
    "FaceLandmarks",
    "Faces",
    "LandmarkDetector",
    "Survey",
    "assign_folds",
    "catalogue",
    "check_options",
    "crop_face",
    "example_faces",
    "landmark_outliers",
    "load_faces",
    "survey",
]

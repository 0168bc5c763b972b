"""Faces: databases, cropping by landmarks, subject-wise folds, and the synthetic faces."""

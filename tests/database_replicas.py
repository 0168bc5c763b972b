"""Miniature copies of the databases: the right names, one tiny image; and what a survey says of them."""

import io
import itertools

import numpy as np
from PIL import Image

from ekman_expressions.faces.folders import _IMAGE_ID

CKPLUS_COUNTS = {1: 45, 2: 18, 3: 59, 4: 25, 5: 69, 6: 28, 7: 83}
JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
JAFFE_COUNTS = {"AN": 30, "DI": 29, "FE": 32, "HA": 31, "NE": 30, "SA": 31, "SU": 30}
WSEFEP_DISPLAYS = ("joy", "sadness", "fear", "anger", "surprise", "disgust", "neutral")
ITALIAN = ("Allegria", "Tristezza", "Paura", "Arrabbiato", "Neutra", "Sorpresa", "Disgusto")


def png(number=0):
    """Bytes of a valid 1 x 1 image, another one for each number up to 255 ** 3."""
    data = io.BytesIO()
    color = np.array([[[number % 256, number // 256 % 256, number // 65536]]], np.uint8)
    Image.fromarray(color).save(data, "PNG")
    return data.getvalue()


PIXEL = png()


def put(path, data=PIXEL):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def ckplus(root, images="cohn-kanade-images", labels="Emotion", frames=3):
    """All 593 sequences of 123 people; 327 with a label, of 118 people; empty label folders for the rest."""
    people = [f"S{number:03d}" for number in range(5, 128)]
    # 4 or 5 sequences each; the last five people have no label.
    keys = [(person, f"{n + 1:03d}") for n in range(5) for person in people][:593]
    codes = [code for code, count in CKPLUS_COUNTS.items() for _ in range(count)]
    labelled = dict(zip([key for key in keys if key[0] not in people[-5:]], codes, strict=False))
    for person, sequence in keys:
        folder = root / images / person / sequence
        folder.mkdir(parents=True)
        for frame in range(1, frames + 1):
            (folder / f"{person}_{sequence}_{frame:08d}.png").write_bytes(PIXEL)
        home = root / labels / person / sequence
        home.mkdir(parents=True)
        if (person, sequence) in labelled:
            name = f"{person}_{sequence}_{frames:08d}_emotion.txt"
            (home / name).write_text(f"   {labelled[person, sequence]:.7e}\n")
    return root


def jaffe(root, pattern="{}.{}{}.{}.tiff"):
    """All 213 images of 10 people, the last of a code's images going round the people."""
    number = itertools.count(1)
    for code, count in JAFFE_COUNTS.items():
        for place in range(count):
            person = JAFFE_PEOPLE[place % 10]
            put(root / pattern.format(person, code, place // 10 + 1, next(number)))
    return root


def wsefep(root, separator=",", encoding="utf-8", skip=()):
    """All 210 pictures of 30 people, two of them MK and MK1."""
    people = ["MK", "MK1", *(f"{a}{b}" for a in "ABCD" for b in "ABCDEFG")]
    lines = [separator.join(("Displayer ID", "Picture ID", "Display", "Intensity"))]
    for person, (place, display) in itertools.product(people, enumerate(WSEFEP_DISPLAYS)):
        picture = f"{person}_{7000 + place}"
        lines.append(separator.join((person, picture, display, "1" if separator == "," else "0,5")))
        if picture not in skip:
            put(root / f"{picture}.jpg")
    put(root / "norms.csv", ("\r\n".join(lines) + "\r\n").encode(encoding))
    return root


def bu4dfe(root, people=("F001", "F002", "M001"), frames=45):
    for person in people:
        for name in ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"):
            for frame in range(frames):
                put(root / person / name / f"{frame:03d}.jpg")
            put(root / person / name / "000.wrl", "mesh")
    return root


def fega(root, people=(("Zenobia", "F", 31), ("Ósgood", "M", 44)), repeats=2):
    number = itertools.count(1)
    for (name, sex, age), label, n in itertools.product(people, ITALIAN, range(1, repeats + 1)):
        put(root / f"0_{sex}_{age}_{name}_{label}_{n}.png", png(next(number)))
    return root


def ckplus48(root):
    """981 pictures of 118 people: three frames of each sequence with a label, in folders by class."""
    folders = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
    number = itertools.count()
    for folder, count in zip(folders, CKPLUS_COUNTS.values(), strict=True):
        for sequence in itertools.islice(number, count):
            for frame in (17, 18, 19):
                name = f"S{10 + sequence % 118:03d}_{1 + sequence // 118:03d}_{frame:08d}.png"
                put(root / "CK+48" / folder / name)
    return root


def fer_rows(pictures, labels, usage=True, separator=","):
    """The lines of a table of pixels as FER2013's, or, with blanks after the commas, of the competition's."""
    names = ("emotion", "Usage", "pixels") if separator == ", " else ("emotion", "pixels", "Usage")
    lines = [separator.join(names[: 3 if usage else 2])]
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        cells = {"emotion": str(label), "pixels": " ".join(map(str, np.ravel(picture)))}
        cells["Usage"] = ("Training", "PublicTest", "PrivateTest")[place % 3]
        lines.append(",".join(cells[name] for name in names[: 3 if usage else 2]))
    return "\n".join(lines) + "\n"


def affectnet(root, labels):
    """The tables and folders of the manually annotated pictures; where the last is validated."""
    names = [f"{place % 3 + 1}/{place:056x}.{'JPG' if place % 4 else 'png'}" for place in range(len(labels))]
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,"
    head += "arousal"
    lines = [
        f"{name},1,1,9,9,{';'.join(['1.5'] * 136)},{label},0.1,-2"
        for name, label in zip(names, labels, strict=True)
    ]
    for file, rows in (("training", lines[:-1]), ("validation", lines[-1:])):
        put(root / "Manually_Annotated_file_lists" / f"{file}.csv", "\n".join([head, *rows]) + "\n")
    for name in names:
        put(root / "Manually_Annotated" / "Manually_Annotated_Images" / name)
    return names


def affectnet_by_annotation(root, labels):
    """The layout of eight classes: numbered pictures, the same numbers in both sets, an array for each."""
    for part in ("train_set", "val_set"):
        for place, label in enumerate(labels):
            put(root / part / "images" / f"{place}.jpg")
            (root / part / "annotations").mkdir(exist_ok=True)
            for kind, value in (("exp", label), ("val", "0.5"), ("lnd", np.ones(136))):
                np.save(root / part / "annotations" / f"{place}_{kind}.npy", value)


def cross_validation(root, folds=5, people=10, expressions=("Anger", "Happy")):
    """Each image in one test folder, p % folds, and in the training folders of the other folds."""
    for person, expression in itertools.product(range(people), expressions):
        for fold in range(folds):
            test = "_test" if person % folds == fold else ""
            put(root / f"CV{fold + 1}{test}" / expression / f"p{person}_1.png")
    return root


def sequence(root, name, label="3.0", frames=(1, 2), images="cohn-kanade-images", labels="Emotion"):
    """One CK+ sequence; its label file is for the last frame."""
    person, number = name.split("/")
    stem = f"{person}_{number}"
    for frame in frames:
        put(root / images / name / f"{stem}_{frame:08d}.png")
    if label is not None:
        put(root / labels / name / f"{stem}_{max(frames):08d}_emotion.txt", label)


def found(result):
    return result.counts()["found"].to_dict()


def reasons(result):
    return dict(zip(result.left_out["item"], result.left_out["reason"], strict=True))


def ids(result, name):
    """Image ids without the database's name, all safe as file names."""
    assert all(_IMAGE_ID.fullmatch(image_id) for image_id in result.rows["image_id"])
    return [image_id.removeprefix(f"{name}_") for image_id in result.rows["image_id"]]

"""PyTorch modules behind the port: the same numbers as by hand and as from Keras, gradients included."""

import numpy as np
import pytest
from made_models import chain
from scipy.special import softmax

torch = pytest.importorskip("torch")

from ekman_expressions.core.errors import ModelError, SettingsError  # noqa: E402
from ekman_expressions.core.expressions import EXPRESSIONS  # noqa: E402
from ekman_expressions.zoo.model import as_model  # noqa: E402
from ekman_expressions.zoo.own_models import load_model  # noqa: E402
from ekman_expressions.zoo.own_settings import OwnModel, _preprocess  # noqa: E402

SIDE = 16
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


class Net(torch.nn.Module):
    def __init__(self, classes=6, channels=3, softmax=True):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 4, 3, padding=1),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(inplace=True),
            torch.nn.MaxPool2d(2),
        )
        self.head = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(256, classes))
        self.softmax = softmax

    def forward(self, images):
        found = self.head(self.body(images))
        return found.softmax(1) if self.softmax else found


class HuggingFaceLike(torch.nn.Module):
    """A classifier with a configuration, whose output is an object with `.logits`."""

    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Config:
        image_size = SIDE
        id2label = dict(enumerate(FER2013))

    def __init__(self):
        super().__init__()
        self.net, self.config = net(7, softmax=False), self.Config()

    def forward(self, pixel_values):
        return self.Output(self.net(pixel_values))


def net(classes=6, channels=3, softmax=True):
    torch.manual_seed(0)
    made = Net(classes, channels, softmax)
    # Statistics that are not those of a fresh layer, so that the mode matters.
    made(torch.rand(8, channels, SIDE, SIDE))
    return made


def by_hand(module, images):
    module.eval()
    with torch.no_grad():
        return module(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()


def keras_twin(module):
    """The same network in Keras."""
    from keras import layers

    conv, norm, linear = module.body[0], module.body[1], module.head[2]
    model = chain(
        SIDE,
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(epsilon=norm.eps),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(2),
        layers.Permute((3, 1, 2)),
        layers.Flatten(),
        layers.Dense(linear.out_features, activation="softmax"),
    )
    state = [conv.weight.permute(2, 3, 1, 0), conv.bias, norm.weight, norm.bias, norm.running_mean]
    state += [norm.running_var, linear.weight.T, linear.bias]
    model.set_weights([part.detach().numpy() for part in state])
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).random((11, SIDE, SIDE, 3), dtype=np.float32)


@pytest.fixture
def samples():
    return np.random.default_rng(1).random((40, 4)) < 0.5


SEGMENTS = np.arange(SIDE).repeat(SIDE).reshape(SIDE, SIDE) // 4


def test_a_module_equals_its_twin_in_keras(images, samples):
    module = net()
    module.train()
    ours, twin = as_model(module), as_model(keras_twin(module))
    assert ours.has_gradients and ours.name == "Net"
    masks = np.random.default_rng(2).random((9, SIDE, SIDE), dtype=np.float32)
    asked = [
        lambda model: model.predict(images),
        lambda model: model.predict_hidden(images[0], SEGMENTS, samples, 0.3),
        lambda model: model.predict_hidden(images[0], SEGMENTS, samples, "blur"),
        lambda model: model.predict_masked(images[0], masks),
    ]
    for score in ("probability", "logit", "contrast"):
        asked.append(lambda model, score=score: model.gradients(images, 2, score)[0])
        asked.append(lambda model, score=score: model.gradients(images, 2, score)[1])
        # The activation behind the convolution and its normalisation, not the pooling.
        asked.append(lambda model, score=score: np.stack(model.features(images[0], 2, score=score)))
    for ask in asked:
        np.testing.assert_allclose(ask(ours), ask(twin), atol=1e-5)
    assert ours.features(images[0], 2)[0].shape == (SIDE, SIDE, 4)
    # It is in the mode in which it was, and no gradients were left in it.
    assert module.training and all(part.training for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_named_layers(images):
    model = as_model(net())
    activations, gradients = model.features(images[0], 1, layer="body.0")
    assert activations.shape == gradients.shape == (SIDE, SIDE, 4)
    with pytest.raises(SettingsError, match="no module 'body.9'. It has body, body.0"):
        model.features(images[0], 1, layer="body.9")
    with pytest.raises(SettingsError, match="'head.2' has no features in space"):
        model.features(images[0], 1, layer="head.2")
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 6), torch.nn.Softmax(1))
    with pytest.raises(ModelError, match="convolutional layer"):
        as_model(flat).features(images[0], 0)


def test_classifiers_of_hugging_face_say_classes_and_size(images):
    module = HuggingFaceLike()
    model = load_model(module)
    assert model.side == (SIDE, SIDE) and model.classes == (*EXPRESSIONS, "neutral")
    odds = softmax(by_hand(module.net, images), axis=1)
    np.testing.assert_allclose(model.predict(images), odds, atol=1e-6)
    np.testing.assert_allclose(as_model(module).predict(images), odds, atol=1e-6)
    assert np.abs(model.gradients(images, 3)[1]).max() > 0
    assert model.features(images[0], 3)[0].shape == (SIDE, SIDE, 4)


@pytest.mark.parametrize(
    ("channels", "preprocessing"),
    [("rgb", "unit"), ("bgr", "minus_one_one"), ("gray", "unit"), ("gray3", "minus_one_one")],
)
def test_colours_range_and_order_are_adapted_and_gradients_flow_through(channels, preprocessing, images):
    said = {"side": SIDE, "classes": FER2013[::-1], "channels": channels, "preprocessing": preprocessing}
    module = net(7, 1 if channels == "gray" else 3, softmax=False)
    model = load_model(module, **said)
    given = np.ascontiguousarray(_preprocess(images, OwnModel(call=len, version="1", **said)))
    odds = softmax(by_hand(module, given)[:, ::-1], axis=1)
    np.testing.assert_allclose(model.predict(images), odds, atol=1e-5)
    _, gradients = model.gradients(images[:1], 2, "contrast")
    # The slope towards a brighter image, by differences.
    step = np.float32(1e-3)
    scores = [np.log(model.predict(np.clip(images[:1] + sign * step, 0, 1))) for sign in (1, -1)]
    slopes = [score[0, 2] - score[0].mean() for score in scores]
    inside = ((images[:1] > step) & (images[:1] < 1 - step)).mean()
    slope = (slopes[0] - slopes[1]) / (2 * step)
    assert gradients.sum() * inside == pytest.approx(slope, rel=0.1, abs=0.05)


def test_precision(images):
    model = net()
    whole, half = as_model(model).predict(images), as_model(model, precision="bfloat16").predict(images)
    assert half.dtype == np.float32 and 1e-6 < np.abs(half - whole).max() < 0.05


def test_modules_that_are_not_as_described(images):
    with pytest.raises(ModelError, match="failed on float32 images of shape .25, 8, 8, 3.*RuntimeError"):
        as_model(net()).predict(images[:, :8, :8])

    class Two(torch.nn.Module):
        def forward(self, images):
            return images, images

    with pytest.raises(ModelError, match="must return one tensor .N, classes., but returned tuple"):
        as_model(Two()).predict(images)


def test_memory_that_is_short(images):
    class Hungry(torch.nn.Module):
        def forward(self, images):
            if len(images) > 10:
                raise torch.OutOfMemoryError("no memory")
            return torch.full((len(images), 2), 0.5)

    model = as_model(Hungry())
    assert model.predict(images).shape == (11, 2) and "from there on 6" in model.notes[-1]

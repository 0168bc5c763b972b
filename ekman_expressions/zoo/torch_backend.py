"""How torch modules compute what a `Model` offers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError, SettingsError
from ekman_expressions.zoo.backends import (
    _NO_SOFTMAX,
    _SMALLEST,
    _failures,
    _FunctionBackend,
    _makes_features,
    _no_convolution,
    _not_differentiable,
    _say,
)
from ekman_expressions.zoo.own_settings import OwnModel, _prepare


class _TorchBackend(_FunctionBackend):
    """A torch module (N, C, H, W) to outputs (N, classes), or to an object with ``.logits``.

    Used in evaluation mode, on its parameters' device.
    """

    has_gradients = True

    def __init__(self, model: Any, precision: str, output: str, own: OwnModel | None = None) -> None:
        super().__init__(model, output, own)
        side = getattr(getattr(model, "config", None), "image_size", None)
        if own is None and isinstance(side, int):
            self.side = (side, side)
        self.precision, self.torch = precision, sys.modules["torch"]

    def raw(self, images: np.ndarray) -> np.ndarray:
        with self._evaluating(images.shape), self.torch.no_grad():
            return self._outputs(self._tensor(images), self.precision)[0].cpu().numpy()

    def predict(self, images: Any) -> np.ndarray:
        with self._evaluating(tuple(images.shape)), self.torch.no_grad():
            found, is_logits = self._outputs(self._tensor(images), self.precision)
            return self._adapted(found, softmax=is_logits).cpu().numpy()

    def hider(self, image: np.ndarray, segments: np.ndarray, behind: np.ndarray) -> Callable:
        image, behind, segments = self._tensor(image), self._tensor(behind), self._tensor(segments).long()
        return lambda samples: self.predict(
            self.torch.where(self._tensor(samples)[:, segments][..., None], image, behind)
        )

    def masker(self, image: np.ndarray, behind: np.ndarray) -> Callable:
        image, behind = self._tensor(image), self._tensor(behind)
        return lambda masks: self.predict(behind + self._tensor(masks)[..., None] * (image - behind))

    def gradients(self, images: np.ndarray, target: int, score: str) -> tuple[np.ndarray, ...]:
        with self._evaluating(images.shape):
            given = self._tensor(images).requires_grad_()
            found, value = self._scored(given, target, score)
            return found.detach().cpu().numpy(), self._derived(value, given, "its input")

    def features(self, images: np.ndarray, target: int, layer: str, score: str) -> tuple[np.ndarray, ...]:
        seen: dict[str, Any] = {}
        convolutions: list[str] = []

        def watch(name: str) -> Callable:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                if isinstance(module, self.torch.nn.modules.conv._ConvNd):
                    convolutions.append(name)
                is_array = isinstance(output, self.torch.Tensor) and output.ndim == 4
                spatial = is_array and min(output.shape[2:]) > 1
                if spatial and output.requires_grad and (convolutions or name == layer):
                    # Again at the end: a module that runs several times counts where it runs last.
                    seen.pop(name, None)
                    seen[name] = output

            return hook

        modules = dict(self.model.named_modules())
        if layer and layer not in modules:
            raise SettingsError(
                f"The model {type(self.model).__name__} has no module {layer!r}. It has "
                f"{', '.join(name for name in modules if name)}."
            )
        watched = [layer] if layer else [name for name, module in modules.items() if not [*module.children()]]
        hooks = [modules[name].register_forward_hook(watch(name)) for name in watched]
        try:
            with self._evaluating(images.shape):
                found, value = self._scored(self._tensor(images).requires_grad_(), target, score)
                names = [name for name in seen if name == layer or _makes_features(modules[name])]
                if layer and not names:
                    raise SettingsError(f"The module {layer!r} has no features in space.")
                if not names:
                    raise _no_convolution(type(self.model).__name__)
                gradients = self._derived(value, seen[names[-1]], f"the module {names[-1]!r}")
        finally:
            for hook in hooks:
                hook.remove()
        found, features = (part.detach().cpu().numpy() for part in (found, seen[names[-1]]))
        return found, features.transpose(0, 2, 3, 1), gradients.transpose(0, 2, 3, 1)

    def _tensor(self, values: Any) -> Any:
        """Return an array as a tensor where the parameters are, a tensor there as it is."""
        parameter = next(self.model.parameters(), None)
        if isinstance(values, self.torch.Tensor):
            return values
        return self.torch.tensor(values, device=None if parameter is None else parameter.device)

    @contextlib.contextmanager
    def _evaluating(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Put the module into evaluation mode; afterwards each of its parts is in its own mode again."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with _failures(shape):
                yield
        finally:
            for module, mode in modes:
                if module.training != mode:
                    module.training = mode

    def _outputs(self, images: Any, precision: str) -> tuple[Any, bool]:
        """Return outputs (N, classes) as float32, and whether they are logits."""
        parameter = next(self.model.parameters(), None)
        given = _prepare(images, self.own) if self.own else images.permute(0, 3, 1, 2).contiguous()
        kind = self.torch.float32 if parameter is None else parameter.dtype
        with self.torch.autocast(given.device.type, getattr(self.torch, precision), enabled=precision != "float32"):
            found = self.model(given.to(kind))
        is_logits = self.output == "logits" or hasattr(found, "logits")
        found = getattr(found, "logits", found)
        if not isinstance(found, self.torch.Tensor) or found.ndim != 2:
            received = tuple(found.shape) if isinstance(found, self.torch.Tensor) else type(found).__name__
            raise ModelError(f"The model must return one tensor (N, classes), but returned {received}.")
        return found.float(), is_logits

    def _adapted(self, found: Any, softmax: bool) -> Any:
        """Return outputs in the order of the classes wanted; what the module does not know has none, 0."""
        found = found[:, self.own.used] if self.own else found
        found = found.softmax(dim=1) if softmax else found
        return self.torch.nn.functional.pad(found, (0, 1))[:, self.own.order] if self.own else found

    def _scored(self, images: Any, target: int, score: str) -> tuple[Any, Any]:
        """Return predictions (n, C), and the class' scores (n,)."""
        ends: list[tuple[Any, Any]] = []

        class Watch(self.torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = function(*args, **(kwargs or {}))
                if getattr(function, "__name__", "") == "softmax" and args:
                    ends.append((args[0], made))
                return made

        with Watch():
            outputs, is_logits = self._outputs(images, "float32")
        found = self._adapted(outputs, softmax=is_logits)
        # An index out of range is reported by `Model`.
        target = min(max(target, 0), found.shape[1] - 1)
        if score == "probability":
            return found, found[:, target]
        logits = outputs if is_logits else next((given for given, made in ends if made is outputs), None)
        if score == "logit" and logits is not None:
            return found, self._adapted(logits, softmax=False)[:, target]
        if score == "logit":
            _say(self, _NO_SOFTMAX)
        logarithms = found.clamp_min(_SMALLEST).log()
        return found, logarithms[:, target] - logarithms.mean(dim=1)

    def _derived(self, value: Any, given: Any, where: str) -> np.ndarray:
        if value.requires_grad:
            (gradient,) = self.torch.autograd.grad(value.sum(), given, allow_unused=True)
            if gradient is not None:
                return gradient.float().cpu().numpy()
        raise _not_differentiable(where)

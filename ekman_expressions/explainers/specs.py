"""What each explainer needs, what it costs, and which options it has: facts, no code.

Apart from the functions (`ekman_expressions.explainers`), since settings and folders depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ekman_expressions.core.errors import check_option, check_range, check_type


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of an explainer: its default, and what it may be.

    Attributes
    ----------
    default : bool, int, float or str
        Also says the type: a whole number must stay whole.
    low, high : float or None
        The closed range of a number.
    choices : tuple of str
        The values of a text; empty: any.
    """

    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any, name: str) -> None:
        """Raise `SettingsError` unless `value` may be given."""
        if isinstance(self.default, bool | str):
            check_type(value, name, type(self.default))
            if self.choices:
                check_option(value, name, self.choices)
        else:
            check_range(value, name, self.low, self.high, integer=isinstance(self.default, int))


@dataclass(frozen=True, kw_only=True)
class ExplainerSpec:
    """The facts of one explainer.

    Attributes
    ----------
    title : str
        Its name in figures and tables.
    source : str
        The paper that describes it.
    cost : str
        Model calls per face, in words.
    records : {'shared', 'own', 'none'}
        ``shared``: estimated from the perturbation records of LIME, at no model call of its own;
        ``own``: from records with superpixels of its own; ``none``: its maps are stored.
    gradients : bool
        Whether it needs a Keras model; the others take any callable.
    landmarks : bool
        Whether it needs the 68 landmarks of each image.
    surrogate : bool
        Whether it fits LIME's weighted ridge regression (``kernel_width``, ``alpha``).
    options : dict of str to Option
        What may be set under ``[explanation.options.<name>]``.
    """

    title: str
    source: str
    cost: str
    records: str = "none"
    gradients: bool = False
    landmarks: bool = False
    surrogate: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)


_SCORE = ("probability", "logit")

SPECS: dict[str, ExplainerSpec] = {
    "lime": ExplainerSpec(
        title="LIME",
        source="Ribeiro et al. (2016), doi:10.1145/2939672.2939778",
        cost="samples",
        records="shared",
        surrogate=True,
    ),
    "kernel_shap": ExplainerSpec(
        title="KernelSHAP",
        source="Lundberg and Lee (2017), arXiv:1705.07874; Covert and Lee (2021), arXiv:2012.01536",
        cost="none beyond LIME's",
        records="shared",
    ),
    "superpixel_rise": ExplainerSpec(
        title="Superpixel RISE",
        source="Petsiuk et al. (2018), arXiv:1806.07421, with superpixels for grid cells",
        cost="none beyond LIME's",
        records="shared",
    ),
    "rise": ExplainerSpec(
        title="RISE",
        source="Petsiuk et al. (2018), arXiv:1806.07421",
        cost="masks",
        options={
            "masks": Option(default=4000, low=2),
            "cells": Option(default=7, low=2, high=64),
            "keep": Option(default=0.5, low=0.01, high=0.99),
        },
    ),
    "occlusion": ExplainerSpec(
        title="Occlusion",
        source="Zeiler and Fergus (2014), doi:10.1007/978-3-319-10590-1_53",
        cost="one per place of the patch, and one",
        options={
            "patch": Option(default=0.2, low=0.01, high=1.0),
            "stride": Option(default=0.1, low=0.01, high=1.0),
        },
    ),
    "grad_cam": ExplainerSpec(
        title="Grad-CAM",
        source="Selvaraju et al. (2017), doi:10.1109/ICCV.2017.74",
        cost="one forward and one backward pass",
        gradients=True,
        options={"layer": Option(default=""), "score": Option(default="logit", choices=_SCORE)},
    ),
    "integrated_gradients": ExplainerSpec(
        title="Integrated gradients",
        source="Sundararajan et al. (2017), arXiv:1703.01365",
        cost="steps, forward and backward",
        gradients=True,
        options={
            "steps": Option(default=50, low=2),
            "superpixels": Option(default=False),
            "score": Option(default="probability", choices=_SCORE),
        },
    ),
    "smooth_grad": ExplainerSpec(
        title="SmoothGrad",
        source="Smilkov et al. (2017), arXiv:1706.03825",
        cost="copies, forward and backward",
        gradients=True,
        options={
            "copies": Option(default=50, low=1),
            "noise": Option(default=0.15, low=0.0, high=1.0),
            "score": Option(default="logit", choices=_SCORE),
        },
    ),
    "facial_regions": ExplainerSpec(
        title="Facial regions",
        source="Ribeiro et al. (2016), doi:10.1145/2939672.2939778, with the atlas' regions as superpixels",
        cost="samples",
        records="own",
        landmarks=True,
        surrogate=True,
    ),
}
"""The explainers that ``explanation.explainer`` and ``explanation.compare`` in the settings take."""


def check_options(options: Any, setting: str) -> None:
    """Raise `SettingsError` unless `options` are options of explainers, by the explainer's name."""
    check_type(options, setting, Mapping)
    for name, values in options.items():
        check_option(name, setting, SPECS)
        where = f"{setting}.{name}"
        check_type(values, where, Mapping)
        for key, value in values.items():
            check_option(key, where, SPECS[name].options)
            SPECS[name].options[key].check(value, f"{where}.{key}")


def resolved_options(options: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return the options of one explainer: its defaults, with those that are set laid over them."""
    defaults = {key: option.default for key, option in SPECS[name].options.items()}
    return defaults | dict(options.get(name, {}))

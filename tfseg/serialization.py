"""Registration of tfseg's classes with Keras, under current and former names, so that older `.keras` files load."""

import functools
import inspect
from typing import Any, TypeVar

import keras

T = TypeVar("T", bound=type)

PACKAGE = "tfseg"
PARTS = {"multipliers": "lr_multipliers", "undecayed": "no_weight_decay"}
ARGUMENTS: dict[str, dict[str, str]] = {
    "AdamW": PARTS,
    "SGD": PARTS,
    "BoundaryIoU": {"classes": "num_classes"},
    "SegmentationMetrics": {"classes": "num_classes"},
    "TrimapMeanIoU": {"classes": "num_classes"},
    "DilatedContext": {"classes": "num_classes", "dilations": "dilation_rates"},
    "ParallelAtrousClassifier": {"classes": "num_classes", "hidden": "filters"},
    "PerOptimizerStep": {"accumulate": "gradient_accumulation_steps"},
}
"""Renamed constructor arguments: old and new names by class."""
CLASSES = {"PerOptimizerStep": "PerUpdate"}
"""Renamed classes: old names by new name."""


def serializable(cls: T) -> T:
    """Registers a class as a Keras object of the package `tfseg`.

    A saved config with a former name of `CLASSES` or `ARGUMENTS` loads. A constructor called with a former name of an
    argument raises TypeError with the new one.
    """
    renamed = ARGUMENTS.get(cls.__name__, {})
    if renamed:
        _translate_config(cls, renamed)
        _reject_old_names(cls, renamed)
    if (former := CLASSES.get(cls.__name__)) is not None:
        keras.saving.get_custom_objects()[f"{PACKAGE}>{former}"] = cls
    return keras.saving.register_keras_serializable(package=PACKAGE)(cls)


def _translate_config(cls: Any, renamed: dict[str, str]) -> None:
    """Makes `from_config` accept the old names too, except those that the constructor of a subclass has itself."""
    make = cls.from_config.__func__

    @functools.wraps(make)
    def from_config(cls: Any, config: dict[str, Any], *args: Any, **options: Any) -> Any:
        names = {old: new for old, new in renamed.items() if old not in inspect.signature(cls.__init__).parameters}
        return make(cls, {names.get(key, key): value for key, value in config.items()}, *args, **options)

    cls.from_config = classmethod(from_config)


def _reject_old_names(cls: Any, renamed: dict[str, str]) -> None:
    """Makes the constructor raise TypeError with the new name if it is called with an old one."""
    construct = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        for old in renamed.keys() & options.keys():
            raise TypeError(
                f"{cls.__name__}() has no argument `{old}`: it was renamed to `{renamed[old]}`. "
                f"Received: {old}={options[old]!r}"
            )
        construct(self, *args, **options)

    # `Operation.__new__` of Keras uses `inspect.getfullargspec`, which does not follow `__wrapped__`.
    __init__.__signature__ = inspect.signature(construct)  # type: ignore[attr-defined]
    cls.__init__ = __init__

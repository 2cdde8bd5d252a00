"""Registration of tfseg's classes with Keras, under the names that they have and had: older `.keras` files load."""

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
"""Renamed constructor arguments: for each class, the old names and the new ones."""
CLASSES = {"PerOptimizerStep": "PerUpdate"}
"""Renamed classes: the new names and the old ones."""


def serializable(cls: T) -> T:
    """Registers a class as a Keras object of the package `tfseg`.

    Where `CLASSES` and `ARGUMENTS` have an earlier name, a saved configuration with it loads; a constructor that is
    called with it raises TypeError and names the new one.
    """
    renamed = ARGUMENTS.get(cls.__name__, {})
    if renamed:
        _translate_config(cls, renamed)
        _answer_old_names(cls, renamed)
    if (former := CLASSES.get(cls.__name__)) is not None:
        keras.saving.get_custom_objects()[f"{PACKAGE}>{former}"] = cls
    return keras.saving.register_keras_serializable(package=PACKAGE)(cls)


def _translate_config(cls: Any, renamed: dict[str, str]) -> None:
    """Makes `from_config` take the old names too."""
    make = cls.from_config.__func__

    @functools.wraps(make)
    def from_config(cls: Any, config: dict[str, Any], *args: Any, **options: Any) -> Any:
        return make(cls, {renamed.get(key, key): value for key, value in config.items()}, *args, **options)

    cls.from_config = classmethod(from_config)


def _answer_old_names(cls: Any, renamed: dict[str, str]) -> None:
    """Makes the constructor name the new argument when it is called with an old one."""
    construct = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        for old in renamed.keys() & options.keys():
            raise TypeError(
                f"{cls.__name__}() has no argument `{old}`: it was renamed to `{renamed[old]}`. "
                f"Received: {old}={options[old]!r}"
            )
        construct(self, *args, **options)

    __init__.__signature__ = inspect.signature(construct)  # type: ignore[attr-defined]  # Keras reads it, unwrapped
    cls.__init__ = __init__

"""What other processes make of the saved cases. A start of TensorFlow takes seconds, so all cases share one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.cases import LAYERS, LOSSES, METRICS
from tests.checks import LayerCase, LossCase, MetricCase, listed, one_or_all

ROOT = Path(__file__).resolve().parent.parent

SERVE = """
import sys, pathlib, numpy as np, tensorflow as tf
for folder in pathlib.Path(sys.argv[1]).iterdir():
    if folder.is_dir():
        loaded = tf.saved_model.load(str(folder / "saved_model"))  # holds the variables
        inputs = [array for _, array in sorted(np.load(folder / "inputs.npz").items())]
        outputs = tf.nest.flatten(loaded.serve(inputs))
        np.savez(folder / "served.npz", *[tf.cast(output, tf.float32) for output in outputs])
assert "tfseg" not in sys.modules
"""

LOAD = """
import json, sys, pathlib, numpy as np
import keras, tfseg.layers, tfseg.losses, tfseg.metrics
for folder in pathlib.Path(sys.argv[1]).iterdir():
    if not folder.is_dir() or (sys.argv[2] != "tensorflow" and folder.name == "tensorflow_only"):
        continue
    inputs = [array for _, array in sorted(np.load(folder / "inputs.npz").items())]
    model = keras.models.load_model(folder / "model.keras")
    if sys.argv[2] == "jax":  # one graph, as in `predict`: each operation by itself would be compiled by itself
        import jax
        variables = model.trainable_variables, model.non_trainable_variables
        values = [[variable.value for variable in each] for each in variables]
        outputs, _ = jax.jit(model.stateless_call)(*values, inputs)
    else:
        outputs = model(inputs)
    outputs = [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) for output in keras.tree.flatten(outputs)]
    np.savez(folder / f"{sys.argv[2]}.npz", *outputs)
figures = []
for config, labels, logits in json.loads(pathlib.Path(sys.argv[1], "figures.json").read_text()):
    thing = keras.saving.deserialize_keras_object(config)
    labels, logits = np.array(labels, "int32"), np.array(logits, "float32")
    if isinstance(thing, keras.losses.Loss):
        figures.append(float(thing(labels, logits)))
    else:
        thing.update_state(labels, logits)
        figures.append({name: float(value) for name, value in thing.result().items()})
pathlib.Path(sys.argv[1], f"{sys.argv[2]}.json").write_text(json.dumps(figures))
"""

GROUPS = {
    "neutral": [case for case in LAYERS if "neutral" not in case.unlike],
    "tensorflow_only": [case for case in LAYERS if "neutral" in case.unlike],
}
"""The layers that share a file: every backend loads the first."""


class Elsewhere:
    """The cases' models, saved once, and what each kind of process computes with them, computed once when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def models(self) -> dict[str, keras.Model]:
        models = {}
        for group, cases in GROUPS.items():
            model, place = side_by_side(cases), self.folder / group
            place.mkdir()
            model.save(place / "model.keras")
            model.export(place / "saved_model", verbose=False)
            np.savez(place / "inputs.npz", **inputs(cases))
            models[group] = model
        figures = [
            [keras.saving.serialize_keras_object(case.make()), *(array.tolist() for array in case.batch())]
            for case in [*LOSSES, *METRICS]
        ]
        (self.folder / "figures.json").write_text(json.dumps(figures))
        return models

    @functools.cached_property
    def results(self) -> dict[str, list[np.ndarray]]:
        """What the models compute in this process."""
        return {group: listed(model(list(inputs(GROUPS[group]).values()))) for group, model in self.models.items()}

    def here(self, case: LayerCase) -> list[np.ndarray]:
        return self.own(case, self.results[group_of(case)])

    def keras(self, case: LayerCase) -> list[np.ndarray]:
        return self.read(case, self.loaded("tensorflow"))

    def backend(self, case: LayerCase, backend: str) -> list[np.ndarray]:
        return self.read(case, self.loaded(backend))

    def saved_model(self, case: LayerCase) -> list[np.ndarray]:
        self.loaded("tensorflow")
        return self.read(case, "served")

    def figure(self, case: LossCase | MetricCase, backend: str = "tensorflow") -> Any:
        found = self.folder / f"{self.loaded(backend)}.json"
        return json.loads(found.read_text())[[*LOSSES, *METRICS].index(case)]

    def figure_here(self, case: LossCase | MetricCase) -> Any:
        labels, logits = case.batch()
        thing = case.make()
        if isinstance(case, LossCase):
            return float(thing(labels, logits))
        thing.update_state(labels, logits)
        return {name: float(value) for name, value in thing.result().items()}

    def read(self, case: LayerCase, name: str) -> list[np.ndarray]:
        with np.load(self.folder / group_of(case) / f"{name}.npz") as file:
            return self.own(case, [file[f"arr_{index}"] for index in range(len(file))])

    def own(self, case: LayerCase, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """Of the outputs of all layers of its group, those of a case."""
        cases = GROUPS[group_of(case)]
        place = cases.index(case)
        first = sum(each.outputs for each in cases[:place])
        assert len(outputs) == sum(each.outputs for each in cases)
        return outputs[first : first + case.outputs]

    @functools.cache  # noqa: B019  # one for each test session
    def loaded(self, backend: str) -> str:
        """Runs the process of a backend. That of TensorFlow serves first, when it has not seen tfseg yet."""
        if backend == "tensorflow":
            self.python(SERVE + LOAD, backend, KERAS_BACKEND=backend)
        else:  # without optimization JAX compiles in half the time
            self.python(LOAD, backend, KERAS_BACKEND=backend, XLA_FLAGS="--xla_backend_optimization_level=0")
        return backend

    def python(self, script: str, *arguments: str, **environment: str) -> None:
        assert self.models is not None  # saves them
        subprocess.run(
            [sys.executable, "-c", script, str(self.folder), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            check=True,
            timeout=300,
        )


def group_of(case: LayerCase) -> str:
    return next(group for group, cases in GROUPS.items() if case in cases)


def side_by_side(cases: list[LayerCase]) -> keras.Model:
    """The layers of all cases in one model: each file costs a tenth of a second or more, whatever is in it."""
    tensors: list[keras.KerasTensor] = []
    outputs: list[keras.KerasTensor] = []
    for index, case in enumerate(cases):
        own = [keras.Input((None, None, array.shape[3]), dtype=array.dtype.name) for array in case.inputs()]
        outputs += keras.tree.flatten(case.make(name=f"layer{index}")(one_or_all(own)))
        tensors += own
    return keras.Model(tensors, outputs)


def inputs(cases: list[LayerCase]) -> dict[str, np.ndarray]:
    """The inputs of all cases under names in their order."""
    arrays = [array for case in cases for array in case.inputs()]
    return {f"{index:03}": array for index, array in enumerate(arrays)}


def plain_environment() -> dict[str, str]:
    """Nothing set that quietens TensorFlow or measures coverage."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "COV"))}

"""Results of the saved cases in other processes. All cases share one process, as each start takes seconds."""

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
    if sys.argv[2] == "jax":  # compile one graph, as in `predict`, instead of each operation
        import jax
        variables = model.trainable_variables, model.non_trainable_variables
        arrays = [[variable.value for variable in each] for each in variables]
        outputs, _ = jax.jit(model.stateless_call)(*arrays, inputs)
    else:
        outputs = model(inputs)
    outputs = [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) for output in keras.tree.flatten(outputs)]
    np.savez(folder / f"{sys.argv[2]}.npz", *outputs)
values = []
for config, labels, logits in json.loads(pathlib.Path(sys.argv[1], "configs.json").read_text()):
    thing = keras.saving.deserialize_keras_object(config)
    labels, logits = np.array(labels, "int32"), np.array(logits, "float32")
    if isinstance(thing, keras.losses.Loss):
        values.append(float(thing(labels, logits)))
    else:
        thing.update_state(labels, logits)
        values.append({name: float(value) for name, value in thing.result().items()})
pathlib.Path(sys.argv[1], f"{sys.argv[2]}.json").write_text(json.dumps(values))
"""

GROUPS = {
    "neutral": [case for case in LAYERS if "neutral" not in case.unlike],
    "tensorflow_only": [case for case in LAYERS if "neutral" in case.unlike],
}
"""Layers by file. Every backend loads the first group."""


class ProcessResults:
    """Models of the cases, saved once, and their results in each kind of process, computed on first access."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def models(self) -> dict[str, keras.Model]:
        models = {}
        for group, cases in GROUPS.items():
            model, folder = side_by_side(cases), self.folder / group
            folder.mkdir()
            model.save(folder / "model.keras")
            model.export(folder / "saved_model", verbose=False)
            np.savez(folder / "inputs.npz", **inputs(cases))
            models[group] = model
        configs = [
            [keras.saving.serialize_keras_object(case.make()), *(array.tolist() for array in case.batch())]
            for case in [*LOSSES, *METRICS]
        ]
        (self.folder / "configs.json").write_text(json.dumps(configs))
        return models

    @functools.cached_property
    def results(self) -> dict[str, list[np.ndarray]]:
        """Outputs of the models in this process."""
        return {group: listed(model(list(inputs(GROUPS[group]).values()))) for group, model in self.models.items()}

    def expected(self, case: LayerCase) -> list[np.ndarray]:
        return self.own(case, self.results[group_of(case)])

    def keras(self, case: LayerCase) -> list[np.ndarray]:
        return self.read(case, self.loaded("tensorflow"))

    def backend(self, case: LayerCase, backend: str) -> list[np.ndarray]:
        return self.read(case, self.loaded(backend))

    def saved_model(self, case: LayerCase) -> list[np.ndarray]:
        self.loaded("tensorflow")
        return self.read(case, "served")

    def value(self, case: LossCase | MetricCase, backend: str = "tensorflow") -> Any:
        found = self.folder / f"{self.loaded(backend)}.json"
        return json.loads(found.read_text())[[*LOSSES, *METRICS].index(case)]

    def expected_value(self, case: LossCase | MetricCase) -> Any:
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
        """Returns the outputs of a case, from those of all layers of its group."""
        cases = GROUPS[group_of(case)]
        first = sum(each.outputs for each in cases[: cases.index(case)])
        assert len(outputs) == sum(each.outputs for each in cases)
        return outputs[first : first + case.outputs]

    @functools.cache  # noqa: B019  # one per test session
    def loaded(self, backend: str) -> str:
        """Runs the process of a backend. That of TensorFlow serves first, before it imports tfseg."""
        if backend == "tensorflow":
            self.python(SERVE + LOAD, backend, KERAS_BACKEND=backend)
        else:  # without optimization, JAX compiles in half the time
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
    """Builds one model of the layers of all cases, as each file takes a tenth of a second or more."""
    tensors: list[keras.KerasTensor] = []
    outputs: list[keras.KerasTensor] = []
    for index, case in enumerate(cases):
        own = [keras.Input((None, None, array.shape[3]), dtype=array.dtype.name) for array in case.inputs()]
        outputs += keras.tree.flatten(case.make(name=f"layer{index}")(one_or_all(own)))
        tensors += own
    return keras.Model(tensors, outputs)


def inputs(cases: list[LayerCase]) -> dict[str, np.ndarray]:
    """Returns the inputs of all cases, under names that sort in their order."""
    arrays = [array for case in cases for array in case.inputs()]
    return {f"{index:03}": array for index, array in enumerate(arrays)}


def plain_environment() -> dict[str, str]:
    """Returns the environment without variables of TensorFlow and of coverage."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "COV"))}

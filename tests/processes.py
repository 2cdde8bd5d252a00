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
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if folder.name.isdigit():
        loaded = tf.saved_model.load(str(folder / "saved_model"))  # holds the variables
        inputs = [array for _, array in sorted(np.load(folder / "inputs.npz").items())]
        outputs = tf.nest.flatten(loaded.serve(inputs[0] if len(inputs) == 1 else inputs))
        np.savez(folder / "served.npz", *[tf.cast(output, tf.float32) for output in outputs])
assert "tfseg" not in sys.modules
"""

LOAD = """
import json, sys, pathlib, numpy as np
import keras, tfseg.layers, tfseg.losses, tfseg.metrics
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if not folder.name.isdigit() or (sys.argv[2] != "tensorflow" and (folder / "tensorflow_only").exists()):
        continue
    inputs = [array for _, array in sorted(np.load(folder / "inputs.npz").items())]
    model = keras.models.load_model(folder / "model.keras")
    outputs = keras.tree.flatten(model(inputs[0] if len(inputs) == 1 else inputs))
    outputs = [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) for output in outputs]
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
pathlib.Path(sys.argv[1], "found.json").write_text(json.dumps(figures))
"""


class Elsewhere:
    """The cases' models, saved once, and what each kind of process computes with them, computed once when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def models(self) -> list[keras.Model]:
        models = []
        for index, case in enumerate(LAYERS):
            model, place = case.model(name="layer"), self.folder / f"{index:03}"
            place.mkdir()
            model.save(place / "model.keras")
            model.export(place / "saved_model", verbose=False)
            np.savez(place / "inputs.npz", *case.inputs())
            if "neutral" in case.unlike:
                (place / "tensorflow_only").touch()
            models.append(model)
        figures = [
            [keras.saving.serialize_keras_object(case.make()), *(array.tolist() for array in case.batch())]
            for case in [*LOSSES, *METRICS]
        ]
        (self.folder / "figures.json").write_text(json.dumps(figures))
        return models

    def here(self, case: LayerCase) -> list[np.ndarray]:
        return listed(self.models[LAYERS.index(case)](one_or_all(case.inputs())))

    def keras(self, case: LayerCase) -> list[np.ndarray]:
        return self.read(case, self.loaded("tensorflow"))

    def backend(self, case: LayerCase, backend: str) -> list[np.ndarray]:
        return self.read(case, self.loaded(backend))

    def saved_model(self, case: LayerCase) -> list[np.ndarray]:
        return self.read(case, self.served)

    def figure(self, case: LossCase | MetricCase) -> Any:
        self.loaded("tensorflow")
        return json.loads((self.folder / "found.json").read_text())[[*LOSSES, *METRICS].index(case)]

    def figure_here(self, case: LossCase | MetricCase) -> Any:
        labels, logits = case.batch()
        thing = case.make()
        if isinstance(case, LossCase):
            return float(thing(labels, logits))
        thing.update_state(labels, logits)
        return {name: float(value) for name, value in thing.result().items()}

    def read(self, case: LayerCase, name: str) -> list[np.ndarray]:
        with np.load(self.folder / f"{LAYERS.index(case):03}" / f"{name}.npz") as file:
            return [file[key] for key in sorted(file, key=lambda key: int(key.removeprefix("arr_")))]

    @functools.cache  # noqa: B019  # one for each test session
    def loaded(self, backend: str) -> str:
        self.python(LOAD, backend, KERAS_BACKEND=backend)
        return backend

    @functools.cached_property
    def served(self) -> str:
        self.python(SERVE)
        return "served"

    def python(self, script: str, *arguments: str, **environment: str) -> None:
        assert self.models is not None  # saves them
        subprocess.run(
            [sys.executable, "-c", script, str(self.folder), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            check=True,
            timeout=300,
        )

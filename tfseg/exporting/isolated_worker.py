"""Script that runs exported artifacts without tfseg and Keras.

`isolated_worker.py SAVED_MODEL [TFLITE]` reads an npz of image batches from stdin and writes an npz of outputs to
stdout. It blocks imports of tfseg and Keras, also by the modules that it imports.
"""

import io
import os
import sys

if __name__ == "__main__":
    for name in ("tfseg", "keras", "tf_keras"):
        sys.modules[name] = None  # type: ignore[assignment]  # `import name` raises ImportError from here on

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

Arrays = dict[str, np.ndarray]


def run_saved_model(path: str, inputs: Arrays) -> Arrays:
    """Computes mask, confidence and probabilities of each batch `saved/<i>`, and the masks of all files `encoded/<i>`.

    The files are one batch.
    """
    loaded = tf.saved_model.load(path)
    outputs: Arrays = {}
    for key, image in inputs.items():
        if key.startswith("saved/"):
            for signature in ("serving_default", "probabilities"):
                result = loaded.signatures[signature](image=tf.constant(image))
                outputs.update({f"{key}/{name}": value.numpy() for name, value in result.items()})
    files = {key: contents.tobytes() for key, contents in inputs.items() if key.startswith("encoded/")}
    if files:
        result = loaded.signatures["serving_bytes"](encoded=tf.constant(list(files.values())))
        for key, png in zip(files, result["mask_png_bytes"], strict=True):
            outputs[f"{key}/mask"] = tf.io.decode_png(png, dtype=outputs["saved/0/mask"].dtype).numpy()[None, ..., 0]
    return outputs


def run_tflite(path: str, inputs: Arrays) -> Arrays:
    """Computes the probabilities of each batch `tflite/<i>`."""
    runner = Interpreter(model_path=path).get_signature_runner("probabilities")
    return {
        f"{key}/{name}": value
        for key, image in inputs.items()
        if key.startswith("tflite/")
        for name, value in runner(image=image.astype(np.float32)).items()
    }


def main(saved_model: str, *tflite: str) -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps the messages of libraries out of the outputs
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as archive:
        inputs = dict(archive)
    outputs = run_saved_model(saved_model, inputs)
    for path in tflite:
        outputs |= run_tflite(path, inputs)
    buffer = io.BytesIO()
    np.savez(buffer, **outputs)  # type: ignore[arg-type]
    out.write(buffer.getvalue())
    out.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

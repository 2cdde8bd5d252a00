"""What someone without tfseg does with an export: load it, ask it, keep the answers.

Run as a program, `isolated_worker.py SAVED_MODEL [TFLITE]`: an npz of image batches on stdin, one of
answers on stdout. It must not import tfseg or Keras, and makes sure that nothing it calls can.
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


def run_saved_model(path: str, questions: Arrays) -> Arrays:
    """Each batch `saved/<i>` to mask, confidence and probabilities; all files `encoded/<i>` at once, to a mask each."""
    loaded = tf.saved_model.load(path)
    answers: Arrays = {}
    for key, image in questions.items():
        if key.startswith("saved/"):
            for signature in ("serving_default", "probabilities"):
                outputs = loaded.signatures[signature](image=tf.constant(image))
                answers.update({f"{key}/{name}": value.numpy() for name, value in outputs.items()})
    files = {key: contents.tobytes() for key, contents in questions.items() if key.startswith("encoded/")}
    if files:
        outputs = loaded.signatures["serving_bytes"](encoded=tf.constant(list(files.values())))
        for key, png in zip(files, outputs["mask_png_bytes"], strict=True):
            answers[f"{key}/mask"] = tf.io.decode_png(png, dtype=answers["saved/0/mask"].dtype).numpy()[None, ..., 0]
    return answers


def run_tflite(path: str, questions: Arrays) -> Arrays:
    """Each batch `tflite/<i>` to probabilities."""
    runner = Interpreter(model_path=path).get_signature_runner("probabilities")
    return {
        f"{key}/{name}": value
        for key, image in questions.items()
        if key.startswith("tflite/")
        for name, value in runner(image=image.astype(np.float32)).items()
    }


def main(saved_model: str, *tflite: str) -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the libraries print must not fall among the answers
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as archive:
        questions = dict(archive)
    answers = run_saved_model(saved_model, questions)
    for path in tflite:
        answers |= run_tflite(path, questions)
    buffer = io.BytesIO()
    np.savez(buffer, **answers)  # type: ignore[arg-type]
    out.write(buffer.getvalue())
    out.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

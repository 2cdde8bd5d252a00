"""The graph of `dense_crf`: which labels of an image are refined, in what columns, and the loop."""

import functools
from typing import Any, NamedTuple

import keras

from tfseg.ops.crf.mean_field import (
    AT_A_TIME,
    BilateralKernel,
    Kernel,
    SpatialKernel,
    colors,
    lead_over_first,
    softmax_of_moderate,
    step,
    with_first,
)
from tfseg.ops.crf.parameters import CrfParameters

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

LEAST = 1e-5
"""Probabilities are taken for no less, as users of pydensecrf do: the logarithm of zero would forbid a label."""
IMPOSSIBLE = -1e9
"""A logit whose probability is zero."""
FEW_LABELS = 5
"""For so many it is faster to compute how far labels are from one of them than where each is."""
NUMBERS = (2, 3, 4, 5, 8, 16, 24, 48, 96, 192)
"""For how many labels there are graphs when others are pruned, besides all."""
BRANCHES = (2, 5, 8, 24, 96)
"""Those of them that a graph holds which is built before its images are known."""


class _Task(NamedTuple):
    """What a refinement is, but for the tensors: each gets one graph."""

    crf: CrfParameters
    iterations: int
    prune: float | None
    numbers: tuple[int, ...]
    """For how many labels there are branches, ascending."""


Inputs = tuple[Any, Any, Any]
"""Probabilities `[batch, height, width, labels]`, the highest of each label `[batch, labels]`, and the image."""


def refine(crf: CrfParameters, iterations: int, prune: float | None, inputs: Inputs, weights: list[Any]) -> Any:
    """Refined probabilities of a batch, of what `dense_crf` has checked; all are of one floating type."""
    probabilities, likeliest, _ = inputs
    batch, labels = probabilities.shape[0], probabilities.shape[3]
    if batch == 0:
        return probabilities
    task = _Task(crf, iterations, prune, (labels,))
    if prune is None:
        return _graph(task, inputs, weights)
    if not tf.executing_eagerly():
        return _graph(task._replace(numbers=_below(labels, BRANCHES)), inputs, weights)
    # How many labels are likely is known before there is a graph: it needs no branches, which take a second each.
    numbers = _below(labels, NUMBERS)
    tasks = [task._replace(numbers=(numbers[place],)) for place in _place(numbers, _live(likeliest, prune))]
    images = [tuple(values[one : one + 1] for values in inputs) for one in range(batch)]
    return tf.concat([_graph(task, image, weights) for task, image in zip(tasks, images, strict=True)], 0)


def _below(labels: int, numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*(number for number in numbers if number < labels), labels)


def _live(likeliest: Any, least: float | None) -> Any:
    """How many labels stay, at least one: `[..., labels]` to int32 `[...]`."""
    return tf.maximum(tf.math.count_nonzero(likeliest > least, axis=-1, dtype="int32"), 1)


def _place(numbers: tuple[int, ...], live: Any) -> Any:
    """The place of the first of `numbers` that is enough."""
    return tf.math.count_nonzero(live[..., None] > tf.constant(numbers[:-1], "int32"), axis=-1, dtype="int32")


def _graph(task: _Task, inputs: Inputs, weights: list[Any]) -> Any:
    probabilities, _, image = inputs
    alone = probabilities.shape[0] == 1
    graph = _traced(task, probabilities.dtype.name, alone, probabilities.shape[3], image.shape[3], len(weights))
    return graph(*inputs, *weights)


@functools.lru_cache(maxsize=64)
def _traced(task: _Task, dtype: str, alone: bool, labels: int, channels: int, weights: int) -> Any:
    """The refinement of a batch of any size as one graph, so that an eager call is as fast, and traced once."""

    batch = 1 if alone else None
    size = [batch, None, None]
    specs = [tf.TensorSpec(shape, dtype) for shape in ([*size, labels], [batch, labels], [*size, channels])]
    scalars = [tf.TensorSpec([], dtype)] * weights
    # Not a function of its own for each: TensorFlow would take all of them for one that is traced too often, and warn.
    return tf.function(functools.partial(_batch, task, alone), [*specs, *scalars], autograph=False)


def _batch(task: _Task, alone: bool, probabilities: Any, likeliest: Any, image: Any, *weights: Any) -> Any:
    def one(inputs: Inputs) -> Any:
        return _refined(task, *inputs, weights)

    if alone:
        return one((probabilities[0], likeliest[0], image[0]))[None]
    spec = tf.TensorSpec(probabilities.shape[1:], probabilities.dtype)
    inputs = (probabilities, likeliest, image)
    return tf.map_fn(one, inputs, fn_output_signature=spec, parallel_iterations=AT_A_TIME)


def _refined(task: _Task, probabilities: Any, likeliest: Any, image: Any, weights: tuple[Any, ...]) -> Any:
    """Of one image: `[height, width, labels]`, `[labels]`, `[height, width, channels]` to refined probabilities."""
    flat = tf.reshape(probabilities, [-1, probabilities.shape[-1]])
    if task.prune is None:
        refined = _mean_field(task, flat, image, weights)
    else:
        # Kernels are made within the branch that uses them: TensorFlow finds no gradient through two levels of graphs.
        branches = [functools.partial(_among, task, number, flat, likeliest, image, weights) for number in task.numbers]
        place = _place(task.numbers, _live(likeliest, task.prune))
        refined = branches[0]() if len(branches) == 1 else tf.switch_case(place, branches)
    return tf.reshape(refined, tf.shape(probabilities))


def _among(task: _Task, number: int, probabilities: Any, likeliest: Any, image: Any, weights: tuple[Any, ...]) -> Any:
    """Inference among so many of the likeliest labels; those of them that are to be left out are made impossible."""
    order = tf.argsort(likeliest, direction="DESCENDING", stable=True)[:number]
    left_out = tf.range(number) >= _live(likeliest, task.prune)
    # A product with ones and zeros is exact, and faster than a gathering of columns.
    chosen = tf.one_hot(order, probabilities.shape[1], dtype=probabilities.dtype)
    among = tf.matmul(probabilities, chosen, transpose_b=True)
    penalty = tf.where(left_out, tf.constant(IMPOSSIBLE, among.dtype), 0)
    return tf.matmul(_mean_field(task, among, image, weights, penalty), chosen)


def _kernels(crf: CrfParameters, image: Any, columns: int) -> list[Kernel]:
    height, width, _ = tf.unstack(tf.shape(image))
    mode, dtype = crf.normalization, image.dtype.name
    return [
        BilateralKernel(colors(image), crf.theta_alpha, crf.theta_beta, mode, crf.bilateral_weight),
        SpatialKernel(height, width, crf.theta_gamma, mode, crf.spatial_weight, dtype, columns),
    ]


def _mean_field(task: _Task, probabilities: Any, image: Any, weights: tuple[Any, ...], penalty: Any = None) -> Any:
    labels = probabilities.shape[1]
    unary = tf.math.log(tf.clip_by_value(probabilities, LEAST, 1))
    unary = unary if penalty is None else unary + penalty
    # What kernels sum up is not negative. Unless weights are, no logit of a label falls below log(LEAST).
    kept_above = not weights and min(task.crf.bilateral_weight, task.crf.spatial_weight) >= 0
    softmax = final = softmax_of_moderate if kept_above else tf.nn.softmax
    if 1 < labels <= FEW_LABELS:
        unary = unary[:, 1:] - unary[:, :1]
        softmax, final = lead_over_first, with_first
    else:
        columns = max(8, -(-labels // 4) * 4)  # processors like whole registers: labels that cannot be fill them up
        unary = tf.pad(unary, [(0, 0), (0, columns - labels)], constant_values=IMPOSSIBLE)
    kernels = _kernels(task.crf, image, unary.shape[1])

    def iterate(logits: Any) -> list[Any]:
        return [step(logits, unary, kernels, weights, softmax=softmax)]

    # One iteration in the graph, whatever their number.
    (logits,) = tf.while_loop(lambda _: True, iterate, [unary], maximum_iterations=task.iterations)
    return final(logits)[:, :labels]

"""The graph of `dense_crf`: which labels of an image are refined, in what columns, and the loop."""

import functools
from typing import Any, NamedTuple

import keras

from tfseg.ops.crf_parameters import CrfParameters
from tfseg.ops.mean_field import (
    AT_A_TIME,
    BilateralKernel,
    Kernel,
    SpatialKernel,
    colours,
    lead_over_last,
    softmax_of_moderate,
    step,
    with_last,
)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

LEAST = 1e-5
"""Probabilities are taken for no less, as users of pydensecrf do: the logarithm of zero would forbid a label."""
IMPOSSIBLE = -1e9
"""A logit whose probability is zero."""
FEW_LABELS = 4
"""For so many it is faster to compute how far labels are apart than where each is."""
KEPT = (2, 3, 4, 8, 16, 24, 48, 96, 192)
"""How many labels may be kept when others are pruned, besides all."""


class _Task(NamedTuple):
    """What a refinement is, but for the tensors: each gets one graph."""

    crf: CrfParameters
    iterations: int
    kept: tuple[int, ...]
    """How many labels an image may be left with, ascending."""
    prune: float | None = None
    """Where there are several numbers, what says which."""


Inputs = tuple[Any, Any, Any]
"""Probabilities `[batch, height, width, labels]`, the highest of each label `[batch, labels]`, and the image."""


def refine(crf: CrfParameters, iterations: int, prune: float | None, inputs: Inputs, weights: list[Any]) -> Any:
    """Refined probabilities of a batch, of what `dense_crf` has checked; all are of one floating type."""
    probabilities, likeliest, _ = inputs
    batch, labels = probabilities.shape[0], probabilities.shape[3]
    if batch == 0:
        return probabilities
    if prune is None:
        return _graph(_Task(crf, iterations, (labels,)), inputs, weights)
    numbers = (*(number for number in KEPT if number < labels), labels)
    if not tf.executing_eagerly():
        return _graph(_Task(crf, iterations, numbers, prune), inputs, weights)
    # The numbers of labels are known before there is a graph: so it needs no branches, which take a second each.
    tasks = [_Task(crf, iterations, (numbers[place],)) for place in _place(numbers, likeliest, prune)]
    images = [tuple(values[one : one + 1] for values in inputs) for one in range(batch)]
    return tf.concat([_graph(task, image, weights) for task, image in zip(tasks, images, strict=True)], 0)


def _place(numbers: tuple[int, ...], likeliest: Any, least: Any) -> Any:
    """The place of the first of `numbers` that is not below the number of labels above `least`."""
    live = tf.math.count_nonzero(likeliest > least, axis=-1, keepdims=True, dtype="int32")
    return tf.math.count_nonzero(live > tf.constant(numbers[:-1], "int32"), axis=-1, dtype="int32")


def _graph(task: _Task, inputs: Inputs, weights: list[Any]) -> Any:
    probabilities, _, image = inputs
    alone = probabilities.shape[0] == 1
    graph = _traced(task, probabilities.dtype.name, alone, probabilities.shape[3], image.shape[3], len(weights))
    return graph(*inputs, *weights)


@functools.lru_cache(maxsize=64)
def _traced(task: _Task, dtype: str, alone: bool, labels: int, channels: int, weights: int) -> Any:
    """The refinement of a batch of any size as one graph, so that an eager call is as fast, and traced once."""

    def refine(probabilities: Any, likeliest: Any, image: Any, *weights: Any) -> Any:
        def one(inputs: Inputs) -> Any:
            return _refined(task, *inputs, weights)

        if alone:
            return one((probabilities[0], likeliest[0], image[0]))[None]
        inputs, spec = (probabilities, likeliest, image), tf.TensorSpec(probabilities.shape[1:], dtype)
        return tf.map_fn(one, inputs, fn_output_signature=spec, parallel_iterations=AT_A_TIME)

    batch = 1 if alone else None
    size = [batch, None, None]
    specs = [tf.TensorSpec(shape, dtype) for shape in ([*size, labels], [batch, labels], [*size, channels])]
    scalars = [tf.TensorSpec([], dtype)] * weights
    return tf.function(refine, [*specs, *scalars], autograph=False)


def _refined(task: _Task, probabilities: Any, likeliest: Any, image: Any, weights: tuple[Any, ...]) -> Any:
    """Of one image: `[height, width, labels]`, `[labels]`, `[height, width, channels]` to refined probabilities."""
    labels = probabilities.shape[-1]
    flat = tf.reshape(probabilities, [-1, labels])
    order = tf.argsort(likeliest, direction="DESCENDING", stable=True)

    def among(number: int) -> Any:
        # Kernels are made within the branch that uses them: TensorFlow finds no gradient through two levels of graphs.
        if number == labels:
            return _mean_field(task, flat, image, weights)
        # A product with ones and zeros is exact, and faster than a gathering of columns.
        chosen = tf.one_hot(order[:number], labels, dtype=flat.dtype)
        return tf.matmul(_mean_field(task, tf.matmul(flat, chosen, transpose_b=True), image, weights), chosen)

    if len(task.kept) == 1:
        refined = among(task.kept[0])
    else:
        branches = [functools.partial(among, number) for number in task.kept]
        refined = tf.switch_case(_place(task.kept, likeliest, task.prune), branches)
    return tf.reshape(refined, tf.shape(probabilities))


def _kernels(crf: CrfParameters, image: Any, columns: int) -> list[Kernel]:
    height, width, _ = tf.unstack(tf.shape(image))
    mode, dtype = crf.normalization, image.dtype.name
    return [
        BilateralKernel(colours(image), crf.theta_alpha, crf.theta_beta, mode, crf.bilateral_weight),
        SpatialKernel(height, width, crf.theta_gamma, mode, crf.spatial_weight, dtype, columns),
    ]


def _mean_field(task: _Task, probabilities: Any, image: Any, weights: tuple[Any, ...]) -> Any:
    labels = probabilities.shape[1]
    unary = tf.math.log(tf.clip_by_value(probabilities, LEAST, 1))
    # What kernels sum up is not negative. Unless weights are, no logit of a label falls below log(LEAST).
    kept_above = not weights and min(task.crf.bilateral_weight, task.crf.spatial_weight) >= 0
    softmax = of_last = softmax_of_moderate if kept_above else tf.nn.softmax
    if 1 < labels <= FEW_LABELS:
        unary = unary[:, :-1] - unary[:, -1:]
        softmax, of_last = lead_over_last, with_last
    else:
        columns = max(8, -(-labels // 4) * 4)  # processors like whole registers: labels that cannot be fill them up
        unary = tf.pad(unary, [(0, 0), (0, columns - labels)], constant_values=IMPOSSIBLE)
    kernels = _kernels(task.crf, image, unary.shape[1])

    def iterate(logits: Any) -> list[Any]:
        return [step(logits, unary, kernels, weights, softmax=softmax)]

    # One iteration in the graph, whatever their number.
    (logits,) = tf.while_loop(lambda _: True, iterate, [unary], maximum_iterations=task.iterations)
    return of_last(logits)[:, :labels]

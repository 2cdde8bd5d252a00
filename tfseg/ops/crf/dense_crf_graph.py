"""Graph of `dense_crf`: pruning and padding of the label axis, and the loop of mean-field iterations."""

import functools
from typing import Any, NamedTuple

import keras

from tfseg.ops.crf.mean_field import (
    PARALLEL_IMAGES,
    BilateralKernel,
    Kernel,
    SpatialKernel,
    colors,
    fast_softmax,
    relative_softmax,
    softmax_from_relative,
    step,
)
from tfseg.ops.crf.parameters import CrfParameters
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MIN_PROBABILITY = 1e-5
"""Lower bound of the input probabilities, as commonly used with pydensecrf. Zero would exclude a label for good."""
EXCLUDED = -1e9
"""Logit with zero probability."""
FEW_LABELS = 5
"""Maximum number of labels for which logits relative to the first label are faster."""
LABEL_COUNTS = (2, 3, 4, 5, 8, 16, 24, 48, 96, 192)
"""Numbers of labels after pruning for which eager calls trace a graph, in addition to the number of all labels."""
BRANCH_COUNTS = (2, 5, 8, 24, 96)
"""Numbers of labels after pruning for which a graph has a branch if it is traced before its images are known."""


class _Task(NamedTuple):
    """Configuration of a refinement. Each configuration has one graph."""

    crf: CrfParameters
    iterations: int
    prune: float | None
    counts: tuple[int, ...]
    """Numbers of labels with a branch, in ascending order."""


Inputs = tuple[Tensor, Tensor, Tensor]
"""Probabilities `[batch, height, width, labels]`, the maximum of each label `[batch, labels]`, and the image."""


def refine(crf: CrfParameters, iterations: int, prune: float | None, inputs: Inputs, weights: list[Tensor]) -> Tensor:
    """Refines the probabilities of a batch. `dense_crf` has checked the inputs, which have the same float dtype."""
    probabilities, maxima, _ = inputs
    batch, labels = probabilities.shape[0], probabilities.shape[3]
    if batch == 0:
        return probabilities
    task = _Task(crf, iterations, prune, (labels,))
    if prune is None:
        return _graph(task, inputs, weights)
    if not tf.executing_eagerly():
        return _graph(task._replace(counts=_below(labels, BRANCH_COUNTS)), inputs, weights)
    # The number of kept labels is known before tracing, so that the graph needs no branches, which take a second each.
    counts = _below(labels, LABEL_COUNTS)
    tasks = [task._replace(counts=(counts[index],)) for index in _branch_index(counts, _kept_labels(maxima, prune))]
    images = [tuple(values[index : index + 1] for values in inputs) for index in range(batch)]
    return tf.concat([_graph(task, image, weights) for task, image in zip(tasks, images, strict=True)], 0)


def _below(labels: int, counts: tuple[int, ...]) -> tuple[int, ...]:
    return (*(count for count in counts if count < labels), labels)


def _kept_labels(maxima: Tensor, prune: float | None) -> Tensor:
    """Returns the number of labels that are not pruned, at least one: `[..., labels]` to int32 `[...]`."""
    return tf.maximum(tf.math.count_nonzero(maxima > prune, axis=-1, dtype="int32"), 1)


def _branch_index(counts: tuple[int, ...], kept: Tensor) -> Tensor:
    """Returns the index of the first of `counts` that is at least `kept`."""
    return tf.math.count_nonzero(kept[..., None] > tf.constant(counts[:-1], "int32"), axis=-1, dtype="int32")


def _graph(task: _Task, inputs: Inputs, weights: list[Tensor]) -> Tensor:
    probabilities, _, image = inputs
    single = probabilities.shape[0] == 1
    graph = _traced(task, probabilities.dtype.name, single, probabilities.shape[3], image.shape[3], len(weights))
    return graph(*inputs, *weights)


@functools.lru_cache(maxsize=64)
def _traced(task: _Task, dtype: str, single: bool, labels: int, channels: int, weights: int) -> Any:
    """Returns the refinement of a batch as a graph for any size, traced once. Eager calls use it as well."""

    batch = 1 if single else None
    size = [batch, None, None]
    specs = [tf.TensorSpec(shape, dtype) for shape in ([*size, labels], [batch, labels], [*size, channels])]
    scalars = [tf.TensorSpec([], dtype)] * weights
    # A local function per configuration would make TensorFlow warn about retracing a single function too often.
    return tf.function(functools.partial(_batch, task, single), [*specs, *scalars], autograph=False)


def _batch(task: _Task, single: bool, probabilities: Tensor, maxima: Tensor, image: Tensor, *weights: Tensor) -> Tensor:
    def refine_one(inputs: Inputs) -> Tensor:
        return _refined(task, *inputs, weights)

    if single:
        return refine_one((probabilities[0], maxima[0], image[0]))[None]
    spec = tf.TensorSpec(probabilities.shape[1:], probabilities.dtype)
    inputs = (probabilities, maxima, image)
    return tf.map_fn(refine_one, inputs, fn_output_signature=spec, parallel_iterations=PARALLEL_IMAGES)


def _refined(task: _Task, probabilities: Tensor, maxima: Tensor, image: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Refines one image, from `[height, width, labels]`, `[labels]` and `[height, width, channels]`."""
    flat = tf.reshape(probabilities, [-1, probabilities.shape[-1]])
    if task.prune is None:
        refined = _mean_field(task, flat, image, weights)
    else:
        # Kernels are built in the branch that uses them: TensorFlow has no gradient through two levels of graphs.
        branches = [functools.partial(_pruned, task, count, flat, maxima, image, weights) for count in task.counts]
        index = _branch_index(task.counts, _kept_labels(maxima, task.prune))
        refined = branches[0]() if len(branches) == 1 else tf.switch_case(index, branches)
    return tf.reshape(refined, tf.shape(probabilities))


def _pruned(
    task: _Task, count: int, probabilities: Tensor, maxima: Tensor, image: Tensor, weights: tuple[Tensor, ...]
) -> Tensor:
    """Refines the `count` labels with the highest maxima, and excludes those of them that are pruned."""
    order = tf.argsort(maxima, direction="DESCENDING", stable=True)[:count]
    excluded = tf.range(count) >= _kept_labels(maxima, task.prune)
    # A product with a one-hot matrix is exact, and faster than gathering columns.
    selection = tf.one_hot(order, probabilities.shape[1], dtype=probabilities.dtype)
    selected = tf.matmul(probabilities, selection, transpose_b=True)
    penalty = tf.where(excluded, tf.constant(EXCLUDED, selected.dtype), 0)
    return tf.matmul(_mean_field(task, selected, image, weights, penalty), selection)


def _kernels(crf: CrfParameters, image: Tensor, columns: int) -> list[Kernel]:
    height, width, _ = tf.unstack(tf.shape(image))
    mode, dtype = crf.normalization, image.dtype.name
    return [
        BilateralKernel(colors(image), crf.theta_alpha, crf.theta_beta, mode, crf.bilateral_weight),
        SpatialKernel(height, width, crf.theta_gamma, mode, crf.spatial_weight, dtype, columns),
    ]


def _mean_field(
    task: _Task, probabilities: Tensor, image: Tensor, weights: tuple[Tensor, ...], penalty: Tensor | None = None
) -> Tensor:
    labels = probabilities.shape[1]
    unary = tf.math.log(tf.clip_by_value(probabilities, MIN_PROBABILITY, 1))
    unary = unary if penalty is None else unary + penalty
    # Kernel sums are non-negative. With non-negative weights, no logit falls below log(MIN_PROBABILITY).
    bounded_below = not weights and min(task.crf.bilateral_weight, task.crf.spatial_weight) >= 0
    softmax = final = fast_softmax if bounded_below else tf.nn.softmax
    if 1 < labels <= FEW_LABELS:
        unary = unary[:, 1:] - unary[:, :1]
        softmax, final = relative_softmax, softmax_from_relative
    else:
        columns = max(8, -(-labels // 4) * 4)  # padded with excluded labels to whole SIMD registers
        unary = tf.pad(unary, [(0, 0), (0, columns - labels)], constant_values=EXCLUDED)
    kernels = _kernels(task.crf, image, unary.shape[1])

    def iterate(logits: Tensor) -> list[Tensor]:
        return [step(logits, unary, kernels, weights, softmax=softmax)]

    # The graph contains a single iteration for any number of them.
    (logits,) = tf.while_loop(lambda _: True, iterate, [unary], maximum_iterations=task.iterations)
    return final(logits)[:, :labels]

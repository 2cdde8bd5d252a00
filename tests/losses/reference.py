"""All losses in NumPy, image by image and in double precision, from the formulas of their papers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from tfseg import losses


def reference(loss: Any, labels: np.ndarray, logits: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Computes the value of a loss: label maps `[batch, height, width]`, and one weight per image or pixel."""
    weights = np.ones(labels.shape) if sample_weight is None else np.asarray(sample_weight, np.float64)
    weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (3 - weights.ndim)), labels.shape)
    images = [(y[y != loss.ignore_label], z[y != loss.ignore_label], w[y != loss.ignore_label], y, z, w)
              for y, z, w in zip(labels, logits.astype(np.float64), weights, strict=True)]  # fmt: skip
    if isinstance(loss, losses.Tversky) and loss.over == "batch":
        together = [np.concatenate([image[part] for image in images]) for part in range(3)]
        return tversky(loss, *together) if len(together[0]) else 0.0
    if type(loss) in PIXELS:
        values = [PIXELS[type(loss)](loss, *image[:3]) for image in images]
        chosen = np.concatenate([value for value, _ in values])
        weight = np.concatenate([weight for _, weight in values])
        divisor = len(images) if getattr(loss, "reduction", "mean") == "sum" else weight.sum()
        return float((chosen * weight).sum() / divisor) if divisor else 0.0
    counted = [image for image in images if image[2].sum()]
    shares = np.array([image[2].mean() for image in counted])
    if not len(shares):
        return 0.0
    return float(np.dot([IMAGES[type(loss)](loss, *image) for image in counted], shares) / shares.sum())


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def class_weights(loss: Any, classes: int) -> np.ndarray:
    return np.ones(classes) if loss.class_weights is None else np.array(loss.class_weights)


def cross_entropy(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    smoothing = getattr(loss, "label_smoothing", 0.0)
    target = np.eye(z.shape[-1])[y] * (1 - smoothing) + smoothing / z.shape[-1]
    return -(target * log_softmax(z)).sum(-1), w * class_weights(loss, z.shape[-1])[y]


def focal(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, weights = cross_entropy(loss, y, z, w)
    return (1 - np.exp(-values)) ** loss.gamma * values, weights


def top_k(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, weights = cross_entropy(loss, y, z, w)
    hardest = np.argsort(-values)[: loss.pixels]
    return values[hardest], weights[hardest]


def ohem(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray, *_: np.ndarray) -> float:
    values, weights = cross_entropy(loss, y, z, w)
    kept = np.exp(-values) < loss.threshold
    kept[np.argsort(-values)[: int(np.ceil(loss.min_kept * len(y)))]] = True
    return float(np.average(values[kept], weights=weights[kept])) if weights[kept].sum() else 0.0


def tversky(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray, *_: np.ndarray) -> float:
    p, present = softmax(z), np.unique(y[w > 0])
    found = []
    for each in present:
        g = y == each
        hits, false, missed = (w * g * p[:, each]).sum(), (w * ~g * p[:, each]).sum(), (w * g * (1 - p[:, each])).sum()
        found.append(1 - hits / (hits + loss.alpha * false + loss.beta * missed))
    return average(loss, z, present, found)


def lovasz(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray, *_: np.ndarray) -> float:
    """Evaluates the definition: the Jaccard loss of each set of the largest errors, times the steps between errors."""
    p, present = softmax(z), np.unique(y)
    found = []
    for each in present:
        g = y == each
        errors = np.abs(g - p[:, each])
        order = np.argsort(-errors, kind="stable")
        steps = errors[order] - np.append(errors[order][1:], 0)
        jaccard = []
        for count in range(1, len(y) + 1):
            wrong = np.zeros(len(y), bool)
            wrong[order[:count]] = True
            jaccard.append(1 - (g & ~wrong).sum() / (g | wrong).sum())
        found.append(float(np.dot(steps, jaccard)))
    return average(loss, z, present, found)


def boundary(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray, *maps: np.ndarray) -> float:
    labels, logits, weights = maps
    labeled, p, present = labels != loss.ignore_label, softmax(logits), np.unique(y)
    found = []
    for each in present:
        g = labels == each
        others = labeled & ~g
        outside = ndimage.distance_transform_edt(~g)
        inside = ndimage.distance_transform_edt(~others) if others.any() else np.full(g.shape, np.inf)
        limit = loss.max_distance
        phi = np.where(g, 1 - np.minimum(inside, limit), np.minimum(outside, limit)) / limit
        found.append(np.average((phi * (p[..., each] - g))[labeled], weights=weights[labeled]))
    return average(loss, logits, present, found)


def boundary_map(loss: Any, y: np.ndarray, z: np.ndarray, w: np.ndarray, *maps: np.ndarray) -> float:
    labels, logits, weights = maps
    kinds: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row, column in zip(*np.nonzero(labels != loss.ignore_label), strict=True):
        window = tuple(slice(max(each - loss.radius, 0), each + loss.radius + 1) for each in (row, column))
        edge = len(set(labels[window].ravel()) - {loss.ignore_label}) > 1
        score = logits[row, column, 0] if edge else -logits[row, column, 0]
        kinds[edge].append((float(np.logaddexp(0, -score)), float(weights[row, column])))
    totals = {edge: sum(weight for _, weight in values) for edge, values in kinds.items()}
    return float(np.mean([sum(v * w for v, w in kinds[edge]) / total for edge, total in totals.items() if total]))


def average(loss: Any, z: np.ndarray, present: np.ndarray, values: list[float]) -> float:
    weights = class_weights(loss, z.shape[-1])[present]
    return float(np.dot(values, weights) / weights.sum()) if weights.sum() else 0.0


PIXELS: dict[type, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    losses.CrossEntropy: cross_entropy, losses.Focal: focal, losses.TopKCrossEntropy: top_k,
}  # fmt: skip
"""Losses that are means over pixels of the batch."""
IMAGES: dict[type, Callable[..., float]] = {
    losses.OhemCrossEntropy: ohem, losses.Tversky: tversky, losses.Dice: tversky, losses.LovaszSoftmax: lovasz,
    losses.Boundary: boundary, losses.BoundaryCrossEntropy: boundary_map,
}  # fmt: skip
"""Losses that are means over images."""

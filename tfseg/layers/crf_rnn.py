"""Fully connected CRF as a layer, trained jointly with the network before it."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

from tfseg.layers.arguments import two_shapes
from tfseg.ops.crf.arguments import check_thetas, check_weight, counted
from tfseg.ops.crf.crf_rnn import KernelForm, Kernels, checked_image, of_one_size, refined
from tfseg.ops.crf.mean_field import Normalization
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]
Matrix = Sequence[Sequence[float]]
KernelWeights = Literal["scalar", "per_class", "full"]
Compatibility = Literal["learned", "potts"]


@serializable
class CrfRnn(keras.layers.Layer):
    """Refines logits by mean-field inference in a fully connected CRF with trainable weights.

    Each mean-field iteration computes `q <- z - mu (W_b K_b softmax(q) + W_s K_s softmax(q))`, starting from `q = z`,
    the input logits. The output is `q`, also logits. `K_s` is the spatial kernel, a Gaussian of the distance between
    two pixels. `K_b` is the bilateral kernel, a Gaussian of their distance and their color difference. Both
    kernels have the given `normalization`. `mu` is the compatibility transform. With weights of zero the layer is the
    identity.

    Gradients flow to the logits and to the weights `bilateral_weights`, `spatial_weights` and `compatibility`; the
    `lr_multipliers` of an optimizer match these names. The layer computes in float32 under every precision policy, or
    in float64 if that is its dtype. The range of the image values is checked when the layer runs. Under XLA, in TFLite
    and on backends that cannot raise, an invalid image makes the output NaN. NaN in the logits is propagated.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((1, 8, 8, 3), "float32")
    >>> image[:, :, 4:] = 255
    >>> logits = np.zeros((1, 8, 8, 2), "float32")
    >>> logits[:, 2, 2, 0] = logits[:, 2, 6, 1] = 2
    >>> np.argmax(CrfRnn()([logits, image]), -1)[0, 5].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]

    Args:
        theta_alpha: Spatial standard deviation of the bilateral kernel in pixels.
        theta_beta: Color standard deviation of the bilateral kernel in intensities of 0 to 255.
        theta_gamma: Standard deviation of the spatial kernel in pixels, at most 1000; run time grows with it.
        bilateral_weight: Initial value of the weights of the bilateral kernel.
        spatial_weight: Initial value of the weights of the spatial kernel.
        kernel_weights: Shape of the weights of each kernel: `"full"`, a matrix over pairs of classes, initialized to a
            multiple of the identity; `"per_class"`, one weight per class; `"scalar"`, a single weight.
        compatibility: Compatibility transform mu. `"learned"`: a trainable matrix, initialized to minus the identity,
            which is the Potts model up to a constant. `"potts"`: the same matrix, non-trainable. A matrix:
            non-trainable; a positive entry penalizes nearby pixels with the classes of its row and column.
        iterations: Integer, number of mean-field iterations in training.
        inference_iterations: Integer, number of mean-field iterations at inference.
        normalization: Normalization of the kernels: `"none"`, `"before"`, `"after"` or `"symmetric"`, see
            `tfseg.ops.crf.mean_field`. Weights tuned for one normalization are wrong for another.
        kernel: Implementation of the bilateral kernel. `"permutohedral"`: over the whole image, approximated by a
            permutohedral lattice, with TensorFlow only. `"convolutional"`: exact within a window, on every backend,
            under XLA and in TFLite. The spatial kernel is a separable convolution in both.
        window: Odd integer, height and width of the window of `"convolutional"`.
        image_gradient: Boolean, whether to compute the gradient with respect to the image, for images that are learned
            features.

    Call arguments:
        inputs: `[logits, image]`. The image has values of 0 to 255, integers or floats, and 3 channels, or 1 if
            grayscale.
        training: Boolean, whether to run `iterations` rather than `inference_iterations`.

    Input shape:
        `[[batch, height, width, classes], [batch, height, width, 3]]`. Height and width may be dynamic.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: If an argument is out of range, if the shapes do not match, or if `kernel="permutohedral"` is used
            without TensorFlow.

    Reference:
        Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, sections 4 and 5; the initial
        weights, the standard deviations and the normalization are those of the authors' code. Teichmann, Cipolla,
        "Convolutional CRFs for Semantic Segmentation", 2018, section 4 (the window).
    """

    def __init__(
        self,
        theta_alpha: float = 160.0,
        theta_beta: float = 3.0,
        theta_gamma: float = 3.0,
        bilateral_weight: float = 5.0,
        spatial_weight: float = 3.0,
        kernel_weights: KernelWeights = "full",
        compatibility: Compatibility | Matrix = "learned",
        iterations: int = 5,
        inference_iterations: int = 10,
        normalization: Normalization = "after",
        kernel: KernelForm = "permutohedral",
        window: int = 11,
        image_gradient: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # the image keeps its own dtype
        self.theta_alpha, self.theta_beta, self.theta_gamma = theta_alpha, theta_beta, theta_gamma
        self.bilateral_weight, self.spatial_weight = bilateral_weight, spatial_weight
        self.kernel_weights, self.compatibility = kernel_weights, _as_config(compatibility)
        self.iterations = counted("iterations", iterations)
        self.inference_iterations = counted("inference_iterations", inference_iterations)
        self.normalization, self.kernel, self.window = normalization, kernel, window
        self.image_gradient = image_gradient
        self._check()
        self.supports_jit = kernel == "convolutional"  # the number of lattice vertices depends on the image

    def _check(self) -> None:
        check_thetas(self.theta_alpha, self.theta_beta, self.theta_gamma)
        check_weight("bilateral_weight", self.bilateral_weight)
        check_weight("spatial_weight", self.spatial_weight)
        if not isinstance(self.window, int) or self.window < 3 or self.window % 2 == 0:
            raise ValueError(f"`window` must be an odd integer of at least 3. Received: window={self.window!r}")
        choices = {"kernel_weights": KernelWeights, "normalization": Normalization, "kernel": KernelForm}
        if isinstance(self.compatibility, str):
            choices["compatibility"] = Compatibility
        for name, choice in choices.items():
            if getattr(self, name) not in get_args(choice):
                raise ValueError(
                    f"`{name}` must be one of {get_args(choice)}. Received: {name}={getattr(self, name)!r}"
                )
        if self.kernel == "permutohedral" and keras.backend.backend() != "tensorflow":
            raise ValueError(
                '`kernel="permutohedral"` requires the TensorFlow backend. Set `kernel` to "convolutional". '
                f"Received: kernel={self.kernel!r} with the backend {keras.backend.backend()}"
            )

    def build(self, input_shape: Sequence[Shape]) -> None:
        classes: Any = self._checked_shapes(input_shape)[0][3]
        initial = {"bilateral_weights": self.bilateral_weight, "spatial_weights": self.spatial_weight}
        self.bilateral_weights, self.spatial_weights = (
            self._kernel_weight(name, classes, value) for name, value in initial.items()
        )
        self.mu = None
        if self.compatibility == "learned":
            self.mu = self.add_weight(
                shape=(classes, classes),
                initializer=keras.initializers.Identity(-1.0),
                name="compatibility",
                dtype=self.variable_dtype,
            )

    def _kernel_weight(self, name: str, classes: int, value: float) -> keras.Variable:
        """Adds the weights of one kernel."""
        shape = {"scalar": (), "per_class": (classes,), "full": (classes, classes)}[self.kernel_weights]
        initializer = keras.initializers.Identity(value) if len(shape) == 2 else keras.initializers.Constant(value)
        return self.add_weight(shape=shape, initializer=initializer, name=name, dtype=self.variable_dtype)

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        logits, image = inputs
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        self._checked_shapes([tuple(logits.shape), tuple(image.shape)])  # shapes may differ from those at build time
        image = checked_image(of_one_size(logits, image), dtype)
        weights = [ops.cast(weight, dtype) for weight in (self.bilateral_weights, self.spatial_weights)]
        iterations = self.iterations if training else self.inference_iterations
        result = refined(ops.cast(logits, dtype), image, weights, self._mu(dtype), self._kernels(), iterations)
        return ops.cast(result, self.compute_dtype)

    def _mu(self, dtype: str) -> Tensor | None:
        if self.mu is not None:
            return ops.cast(self.mu, dtype)
        return None if self.compatibility == "potts" else ops.convert_to_tensor(self.compatibility, dtype)

    def _kernels(self) -> Kernels:
        return Kernels(
            self.kernel,
            self.theta_alpha,
            self.theta_beta,
            self.theta_gamma,
            self.normalization,
            self.window,
            self.image_gradient,
        )

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        return tuple(self._checked_shapes(input_shape)[0])

    def _checked_shapes(self, shapes: Sequence[Shape]) -> tuple[Shape, Shape]:
        """Returns the shapes of logits and image; raises ValueError if they do not match."""
        logits, image = two_shapes(shapes)
        equal = all(None in pair or pair[0] == pair[1] for pair in zip(logits[:3], image[:3], strict=True))
        if not equal or image[3] not in (1, 3) or logits[3] is None:
            raise ValueError(
                "Expected logits `[batch, height, width, classes]` and an image `[batch, height, width, 3]` (1 channel "
                f"if grayscale) of the same batch and size. Received: {tuple(logits)} and {tuple(image)}"
            )
        if not isinstance(self.compatibility, str) and len(self.compatibility) != logits[3]:
            raise ValueError(
                f"`compatibility` must have a row and a column for each of {logits[3]} classes. "
                f"Received: {len(self.compatibility)} rows"
            )
        return logits, image

    def get_config(self) -> dict[str, Any]:
        own = (
            "theta_alpha", "theta_beta", "theta_gamma", "bilateral_weight", "spatial_weight", "kernel_weights",
            "compatibility", "iterations", "inference_iterations", "normalization", "kernel", "window",
            "image_gradient",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _as_config(compatibility: Compatibility | Matrix) -> Compatibility | list[list[float]]:
    """Converts a compatibility matrix to nested lists, which JSON can store. A string is returned unchanged."""
    if isinstance(compatibility, str):
        return compatibility
    matrix = np.asarray(compatibility, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            '`compatibility` must be "learned", "potts" or a square matrix. '
            f"Received: compatibility of shape {matrix.shape}"
        )
    rows: list[list[float]] = matrix.tolist()
    return rows

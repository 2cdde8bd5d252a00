"""A fully connected CRF as a layer: mean field that is trained with the network before it."""

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

Shape = Sequence[int | None]
Matrix = Sequence[Sequence[float]]
KernelWeights = Literal["scalar", "per_class", "full"]
Compatibility = Literal["learned", "potts"]


@serializable
class CrfRnn(keras.layers.Layer):
    """Refines logits by mean field in a fully connected CRF whose weights are learned.

    Each iteration is `q <- U - mu (W_b K_b softmax(q) + W_s K_s softmax(q))` from `q = U`, the logits that come in;
    the output is `q`, logits again. `K_s` is a Gaussian of the distance of two pixels, `K_b` one of their distance and
    their difference in color, both normalized. With weights of zero the layer is the identity.

    There are gradients to the logits and to `bilateral_weights`, `spatial_weights` and `compatibility`, by which names
    an optimizer's multipliers find them. All is computed in float32 under every precision policy, or in float64 where
    that is the layer's type. Values of images are checked when the layer runs; under XLA, in TFLite and on backends
    that cannot raise, an image that is refused makes NaN of the result. NaN among the logits stays NaN.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((1, 8, 8, 3), "float32")
    >>> image[:, :, 4:] = 255
    >>> logits = np.zeros((1, 8, 8, 2), "float32")
    >>> logits[:, 2, 2, 0] = logits[:, 2, 6, 1] = 2
    >>> np.argmax(CrfRnn()([logits, image]), -1)[0, 5].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]

    Args:
        theta_alpha: standard deviation of the bilateral kernel in pixels.
        theta_beta: standard deviation of the bilateral kernel in intensities of 0 to 255.
        theta_gamma: standard deviation of the spatial kernel in pixels, at most 1000: time grows with it.
        bilateral_weight: where the weights of the bilateral kernel start.
        spatial_weight: where the weights of the spatial kernel start.
        kernel_weights: what the weights of each kernel are: `"full"`, a matrix over pairs of classes, which starts as a
            multiple of the identity; `"per_class"`; `"scalar"`.
        compatibility: `"learned"`: a matrix mu that starts as minus the identity, Potts's but for a constant.
            `"potts"`: that for good. A matrix: this one for good; a positive entry sets two classes against each other.
        iterations: of mean field in training.
        inference_iterations: of mean field otherwise.
        normalization: of the kernels: `"none"`, `"before"`, `"after"` or `"symmetric"`, see `tfseg.ops.crf.mean_field`;
            weights that were found under one are wrong under another.
        kernel: `"permutohedral"`: the bilateral kernel over the whole image, by a lattice, with TensorFlow.
            `"convolutional"`: over a window and exactly, on every backend, under XLA and in TFLite. The spatial kernel
            is the same in both, a separable convolution.
        window: height and width of the window of `"convolutional"`; odd.
        image_gradient: let a gradient through to the image, for features that are learned themselves.

    Call arguments:
        inputs: `[logits, image]`; the image of 0 to 255, integers or floats, of three channels or of one.
        training: whether `iterations` apply.

    Input shape:
        `[[batch, height, width, classes], [batch, height, width, 3]]`. Sizes may be unknown until the graph runs.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: arguments out of range, shapes that do not fit, or a lattice without TensorFlow.

    Reference:
        Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, sections 4 and 5; the values
        that weights start from, the standard deviations and the normalization are those of the authors' program.
        Teichmann, Cipolla, "Convolutional CRFs for Semantic Segmentation", 2018, section 4 (the window).
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
        super().__init__(autocast=False, **kwargs)  # the image keeps its own type
        self.theta_alpha, self.theta_beta, self.theta_gamma = theta_alpha, theta_beta, theta_gamma
        self.bilateral_weight, self.spatial_weight = bilateral_weight, spatial_weight
        self.kernel_weights, self.compatibility = kernel_weights, _plain(compatibility)
        self.iterations = counted("iterations", iterations)
        self.inference_iterations = counted("inference_iterations", inference_iterations)
        self.normalization, self.kernel, self.window = normalization, kernel, window
        self.image_gradient = image_gradient
        self._check()
        self.supports_jit = kernel == "convolutional"  # a lattice has as many vertices as the image asks for

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
                'The lattice is made of TensorFlow\'s operations. Set `kernel` to "convolutional". '
                f"Received: kernel={self.kernel!r} with the backend {keras.backend.backend()}"
            )

    def build(self, input_shape: Sequence[Shape]) -> None:
        classes: Any = self._fitting(input_shape)[0][3]
        starts = {"bilateral_weights": self.bilateral_weight, "spatial_weights": self.spatial_weight}
        self.bilateral_weights, self.spatial_weights = (
            self._matrix(name, classes, start) for name, start in starts.items()
        )
        self.mu = None
        if self.compatibility == "learned":
            self.mu = self.add_weight(
                shape=(classes, classes),
                initializer=keras.initializers.Identity(-1.0),
                name="compatibility",
                dtype=self.variable_dtype,
            )

    def _matrix(self, name: str, classes: int, start: float) -> keras.Variable:
        """The weights of one kernel."""
        shape = {"scalar": (), "per_class": (classes,), "full": (classes, classes)}[self.kernel_weights]
        initializer = keras.initializers.Identity(start) if len(shape) == 2 else keras.initializers.Constant(start)
        return self.add_weight(shape=shape, initializer=initializer, name=name, dtype=self.variable_dtype)

    def call(self, inputs: Sequence[Any], training: bool | None = None) -> Any:
        logits, image = inputs
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        self._fitting([tuple(logits.shape), tuple(image.shape)])  # another image than it was built for
        image = checked_image(of_one_size(logits, image), dtype)
        weights = [ops.cast(weight, dtype) for weight in (self.bilateral_weights, self.spatial_weights)]
        iterations = self.iterations if training else self.inference_iterations
        result = refined(ops.cast(logits, dtype), image, weights, self._mu(dtype), self._kernels(), iterations)
        return ops.cast(result, self.compute_dtype)

    def _mu(self, dtype: str) -> Any:
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
        return tuple(self._fitting(input_shape)[0])

    def _fitting(self, shapes: Sequence[Shape]) -> tuple[Shape, Shape]:
        """The shapes of logits and image."""
        logits, image = two_shapes(shapes)
        equal = all(None in pair or pair[0] == pair[1] for pair in zip(logits[:3], image[:3], strict=True))
        if not equal or image[3] not in (1, 3) or logits[3] is None:
            raise ValueError(
                "Expected logits [batch, height, width, classes] and an image [batch, height, width, 3] (or 1, if it "
                f"is gray) of the same batch and size. Received: {tuple(logits)} and {tuple(image)}"
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


def _plain(compatibility: Compatibility | Matrix) -> Compatibility | list[list[float]]:
    """A matrix as lists, which JSON can hold."""
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

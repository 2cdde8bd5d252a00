"""Access to private attributes of Keras.

A note "Without `x`: …" describes the replacement if a later version of Keras removes the attribute `x`.

`tests/test_keras_internals.py` checks each attribute on a small network, also with the lowest supported Keras version.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras


def calls(model: keras.Model) -> Iterator[Any]:
    """Returns all layer calls of a Functional model, roughly from the outputs to the inputs.

    A call has the attributes `operation`, `input_tensors` and `output_tensors`.

    A shared layer is called several times, but `layer.output` is the output of one call only. Without
    `_nodes_by_depth`: traverse the graph from `model.outputs` with `producer`.
    """
    return (node for nodes in model._nodes_by_depth.values() for node in nodes)


def producer(tensor: keras.KerasTensor) -> tuple[keras.Operation, Any]:
    """Returns the layer that computed a symbolic tensor, and the call that returned the tensor.

    Keras's `clone_model` and `summary` use the same attribute. Without `_keras_history`: search `calls` of the model
    for the one with `tensor` among its `output_tensors`.
    """
    operation, index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[index]


def calls_of(operation: keras.Operation) -> list[Any]:
    """Returns the calls of a layer in all models, earliest first.

    Without `_inbound_nodes`: filter `calls(model)` by `operation`.
    """
    return operation._inbound_nodes


def readers(operation: keras.Operation) -> list[keras.Operation]:
    """Returns the consumers of a layer's outputs, once per call. Without `_outbound_nodes`: search `calls(model)`."""
    return [call.operation for call in operation._outbound_nodes]


def rerun(model: keras.Model, inputs: list[keras.KerasTensor]) -> Any:
    """Calls the layers of a Functional model on new symbolic inputs and returns the outputs.

    Calling the model itself would nest its layers in a single layer, which hides them from weight files, freezing and
    graph traversal. Keras's `clone_model` works the same way. Without `_run_through_graph`: call the layers by
    decreasing depth of their nodes.
    """
    return model._run_through_graph(inputs, operation_fn=lambda layer: layer)


def layers_within(layer: keras.layers.Layer, *, deep: bool = True) -> Iterator[keras.layers.Layer]:
    """Returns the sublayers of a layer or model, recursively unless `deep` is false.

    A model has the attribute `layers`, a layer does not. Without `_flatten_layers`: search the attributes of the layer
    for layers and lists of layers, as `Layer.__setattr__` does.
    """
    return iter(layer._flatten_layers(include_self=False, recursive=deep))


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[tuple[Any, Any]]:
    """Returns pairs of a trainable variable and its moving average, for an optimizer built with `use_ema=True`.

    Keras's `SwapEMAWeights` uses the same attributes. Without `_model_variables_moving_average`: create the averages in
    `build` with `add_optimizer_variables`.
    """
    averages = getattr(optimizer, "_model_variables_moving_average", ())
    pairs = zip(optimizer._trainable_variables, averages, strict=True) if averages else ()
    return [(variable, average) for variable, average in pairs if average is not None]


class BetweenSumAndUpdate:
    """Mixin for Keras optimizers. Its methods see the gradients of a step after they were summed over all replicas.

    In the bases of a subclass, the mixin precedes the Keras optimizer.

    `apply` gets the gradients of one replica, and `update_step` one variable at a time, so that neither can skip a
    whole step in all replicas. Keras clips the gradient of each replica in `_clip_gradients`, and updates moving
    averages after every batch, even one without an optimizer step; both are disabled here. Without
    `_distributed_tf_update_step`: sum the gradients in `apply` with `tf.distribute.get_replica_context().all_reduce`,
    and decide there. Without `_clip_gradients` or `_update_model_variables_moving_average`: do not pass the arguments
    for clipping or averages to the constructor of Keras.
    """

    def around(self, gradients: list[Any], update: Callable[[], None]) -> None:
        """Calls `update` or skips it. `gradients` are sums over all replicas, one per variable."""
        update()

    def clipping(self, gradients: list[Any]) -> list[Callable[[Any], Any]]:
        """Returns a function per variable that clips its gradient, given all `gradients`."""
        return [lambda gradient: gradient for _ in gradients]

    def average(self, average: Any, variable: Any) -> None:
        """Updates the moving average of a variable after an applied step. Only called with `use_ema`."""

    def applied(self) -> None:
        """Called after an applied step."""

    def _distributed_tf_update_step(self, distribution: Any, grads_and_vars: Any, learning_rate: Any) -> None:
        first = [distribution.experimental_local_results(gradient)[0] for gradient, _ in grads_and_vars]
        each = distribution.extended.update

        def step(clip: Callable[[Any], Any]) -> Callable[[Any, Any, Any], None]:
            return lambda variable, gradient, rate: self.update_step(clip(gradient), variable, rate)  # type: ignore[attr-defined]

        def update() -> None:
            for (gradient, variable), clip in zip(grads_and_vars, self.clipping(first), strict=True):
                each(variable, step(clip), args=(gradient, learning_rate), group=False)
            for variable, average in moving_averages(self):
                each(average.value, self.average, args=(variable.value,), group=False)
            self.applied()

        self.around(first, update)

    def _clip_gradients(self, grads: Any) -> Any:
        return grads

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        """Does nothing. The averages are updated after each applied step."""

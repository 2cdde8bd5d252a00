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


class BetweenSumAndUpdate:
    """Mixin for Keras optimizers. Its `around` decides from the summed gradients whether an update step is applied.

    In the bases of a subclass, the mixin precedes the Keras optimizer.

    `apply` gets the gradients of one replica, and `update_step` one variable at a time, so that neither can skip a
    whole step in all replicas. Without `_distributed_tf_update_step`: sum the gradients in `apply` with
    `tf.distribute.get_replica_context().all_reduce`, and decide there.
    """

    def around(self, gradients: list[Any], update: Callable[[], None]) -> None:
        """Calls `update` or skips it. `gradients` are sums over all replicas, one per variable."""
        update()

    def _distributed_tf_update_step(self, distribution: Any, grads_and_vars: Any, learning_rate: Any) -> None:
        first = [distribution.experimental_local_results(gradient)[0] for gradient, _ in grads_and_vars]
        update = super()._distributed_tf_update_step  # type: ignore[misc]
        self.around(first, lambda: update(distribution, grads_and_vars, learning_rate))

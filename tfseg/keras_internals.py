"""What Keras does not offer publicly, in one place: each with its reason, and what to do when it goes.

`tests/test_keras_internals.py` holds every one of them against a small network, at the lowest version of Keras too.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras


def calls(model: keras.Model) -> Iterator[Any]:
    """Every call of a layer in a Functional model, the deepest first: `operation`, `input_tensors`, `output_tensors`.

    A layer that several inputs share is called several times, and `layer.output` knows one of them. Without
    `_nodes_by_depth`: walk from `model.outputs` down by `producer`.
    """
    return (node for nodes in model._nodes_by_depth.values() for node in nodes)


def producer(tensor: keras.KerasTensor) -> tuple[keras.Operation, Any]:
    """The layer that gave a symbolic tensor, and the call in which it did.

    Keras's own `clone_model` and `summary` ask so. Without `_keras_history`: search `calls` of the model for the one
    with `tensor` among its `output_tensors`.
    """
    operation, index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[index]


def calls_of(operation: keras.Operation) -> list[Any]:
    """The calls of one layer, in whichever model, the first one first.

    Without `_inbound_nodes`: those of `calls(model)` whose `operation` it is.
    """
    return operation._inbound_nodes


def readers(operation: keras.Operation) -> list[keras.Operation]:
    """What reads what a layer gives, once for each call. Without `_outbound_nodes`: find it among `calls(model)`."""
    return [call.operation for call in operation._outbound_nodes]


def rerun(model: keras.Model, inputs: list[keras.KerasTensor]) -> Any:
    """The outputs of a Functional model for other symbolic inputs, by calls of its own layers.

    To call the model itself would hide its layers within one, from weight files, freezing and whoever walks the graph.
    Keras's own `clone_model` does it so. Without `_run_through_graph`: call the layers in the order of `calls`.
    """
    return model._run_through_graph(inputs, operation_fn=lambda layer: layer)


def layers_within(layer: keras.layers.Layer, *, deep: bool = True) -> Iterator[keras.layers.Layer]:
    """The layers that a layer or a model is made of; those within them too, unless `deep` is false.

    A model names its own layers (`layers`), a layer none. Without `_flatten_layers`: search the attributes of the layer
    for layers, and for lists of them, as `Layer.__setattr__` does.
    """
    return iter(layer._flatten_layers(include_self=False, recursive=deep))


class BetweenSumAndUpdate:
    """Before a Keras optimizer among the bases: lets `around` decide whether an update, of summed gradients, is made.

    `apply` sees the gradients of one replica, and `update_step` one variable at a time: neither can leave out a whole
    step of all replicas alike. Without `_distributed_tf_update_step`: sum the gradients in `apply`, by
    `tf.distribute.get_replica_context().all_reduce`, and decide there.
    """

    def around(self, gradients: list[Any], update: Callable[[], None]) -> None:
        """Calls `update` or does not; `gradients` are sums over all replicas, one for each variable."""
        update()

    def _distributed_tf_update_step(self, distribution: Any, grads_and_vars: Any, learning_rate: Any) -> None:
        first = [distribution.experimental_local_results(gradient)[0] for gradient, _ in grads_and_vars]
        update = super()._distributed_tf_update_step  # type: ignore[misc]
        self.around(first, lambda: update(distribution, grads_and_vars, learning_rate))

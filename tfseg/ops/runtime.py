"""Operations at run time: assertions on tensor values, sums over the replicas of a distribution strategy, XLA."""

from typing import Any

import keras

from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    def assert_condition(condition: Tensor, message: str, values: Any) -> Any:
        """Raises an error with `message` and `values` if the scalar `condition` is false at run time.

        XLA, and every backend except TensorFlow and NumPy, drops such assertions. Where invalid input must not pass
        unnoticed, the caller must also make its result NaN.

        Args:
            condition: Boolean scalar tensor.
            message: What was expected, and where.
            values: Small tensor printed as the received value, or a function that computes it only on failure.

        Returns:
            In a graph, an operation or tensor to use as a control dependency; otherwise `None`.

        Raises:
            tf.errors.InvalidArgumentError: At run time, also in a graph; ValueError with the NumPy backend.
        """
        text = f"{message} Received:"
        if not callable(values):
            return tf.debugging.Assert(condition, [text, values])
        if tf.executing_eagerly():
            return None if condition else tf.debugging.Assert(condition, [text, values()])

        def fail() -> Tensor:
            with tf.control_dependencies([tf.debugging.Assert(condition, [text, values()])]):
                return tf.identity(condition)

        return tf.cond(condition, lambda: tf.identity(condition), fail)

    def sum_over_replicas(value: Tensor) -> Tensor:
        """Returns the sum of `value` over all replicas in sync, or `value` itself if there is only one."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return value
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

    def num_replicas() -> int:
        """Returns the number of replicas in sync."""
        context = tf.distribute.get_replica_context()
        return 1 if context is None else int(context.num_replicas_in_sync)

    def in_xla() -> bool:
        """Returns whether the operations that are created now will be compiled by XLA.

        TensorFlow has no public function for it. Without `GraphOrParentsInXlaContext`: search `tf.function` objects
        with `jit_compile` on the stack of Python.
        """
        return bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))

else:

    def assert_condition(condition: Tensor, message: str, values: Any) -> Any:
        """Raises ValueError with `message` and `values` if `condition` is false, on the NumPy backend only."""
        if keras.backend.backend() == "numpy" and not condition:
            raise ValueError(f"{message} Received: {values() if callable(values) else values}")

    def sum_over_replicas(value: Tensor) -> Tensor:
        """Returns `value`, because replicas are supported on TensorFlow only."""
        return value

    def num_replicas() -> int:
        """Returns 1, because replicas are supported on TensorFlow only."""
        return 1

    def in_xla() -> bool:
        """Returns False, because it is asked on TensorFlow only."""
        return False

"""What only the running program can do: look at values, and sum them over the replicas of a distribution strategy."""

from typing import Any

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def assert_condition(condition: Any, message: str, values: Any) -> Any:
        """Stops the computation with `message` and `values` unless the scalar `condition` holds.

        XLA, and every backend but TensorFlow and NumPy, leaves such checks out: a caller that needs certainty there
        must spoil its result as well.

        Args:
            condition: boolean scalar tensor.
            message: where, and what was expected.
            values: a small tensor that is shown as what was received, or a function that computes it only then.

        Returns:
            In a graph the operation, for what must not run before it; otherwise None.

        Raises:
            tf.errors.InvalidArgumentError: when it runs, in a graph too; ValueError with the NumPy backend.
        """
        told = f"{message} Received:"
        if not callable(values):
            return tf.debugging.Assert(condition, [told, values])
        if tf.executing_eagerly():
            return None if condition else tf.debugging.Assert(condition, [told, values()])

        def refused() -> Any:
            with tf.control_dependencies([tf.debugging.Assert(condition, [told, values()])]):
                return tf.identity(condition)

        return tf.cond(condition, lambda: tf.identity(condition), refused)

    def sum_over_replicas(value: Any) -> Any:
        """The sum of `value` over all replicas that compute in step; `value` itself where there is one."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return value
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

else:

    def assert_condition(condition: Any, message: str, values: Any) -> Any:
        """Stops the computation with `message` and `values` unless the scalar `condition` holds, with NumPy only."""
        if keras.backend.backend() == "numpy" and not condition:
            raise ValueError(f"{message} Received: {values() if callable(values) else values}")

    def sum_over_replicas(value: Any) -> Any:
        """The sum of `value` over all replicas: `value` itself, since only TensorFlow has replicas here."""
        return value

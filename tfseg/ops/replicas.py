"""Sums over the replicas of a distribution strategy; without a strategy they change nothing."""

from typing import Any

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def sum_over_replicas(value: Any) -> Any:
        """The sum of `value` over all replicas that compute in step; `value` itself where there is one."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return value
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

else:

    def sum_over_replicas(value: Any) -> Any:
        """The sum of `value` over all replicas: `value` itself, since only TensorFlow has replicas here."""
        return value

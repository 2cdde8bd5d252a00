"""Script of test_devices.py: values and gradients of losses on one and on several logical CPU devices."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.losses.test_all import LOSSES, example


def on_devices(loss: Any, labels: np.ndarray, logits: np.ndarray, strategy: tf.distribute.Strategy) -> list[Any]:
    """Returns the value and the gradient of a batch that is divided among the devices of a strategy."""
    parts = [np.split(each, strategy.num_replicas_in_sync) for each in (labels, logits)]

    @tf.function
    def step() -> tuple[tf.Tensor, tf.Tensor]:
        def replica() -> tuple[tf.Tensor, tf.Tensor]:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            y, z = (tf.constant(np.stack(part))[number] for part in parts)
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(y, z)
            return value, tape.gradient(value, z)

        values, gradients = strategy.run(replica)
        shares, each = strategy.experimental_local_results(values), strategy.experimental_local_results(gradients)
        return tf.add_n(list(shares)), tf.concat(list(each), 0)

    value, gradient = step()
    return [float(value), gradient.numpy().ravel().tolist()]


def results(make: Any, strategies: list[tf.distribute.Strategy]) -> list[list[Any]]:
    loss = make()
    labels, logits = example(loss, shape=(4, 5, 6))
    labels[1] = loss.ignore_label  # unevenly divided
    return [on_devices(loss, labels, logits, strategy) for strategy in strategies]


if __name__ == "__main__":
    output, devices = Path(sys.argv[1]), int(sys.argv[2])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    strategies = [tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(each)]) for each in (1, devices)]
    output.write_text(json.dumps({name: results(make, strategies) for name, make in LOSSES.items()}))

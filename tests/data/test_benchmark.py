"""Throughput of the input pipeline."""

from tfseg.data import Data, Flip, Shapes
from tfseg.data.benchmark import bench
from tfseg.labels import Labels


def test_bench_measures_every_stage(data: Data, labels: Labels) -> None:
    rates = bench(data.open(labels), images=10)
    assert list(rates) == ["read", "decode", "augment", "batch"]
    assert all(rate > 0 for rate in rates.values())
    synthetic = Data(source=Shapes(size=16), batch_size=4, augment=(Flip(),))
    assert list(bench(synthetic.open(labels), images=10)) == ["decode", "augment", "batch"]

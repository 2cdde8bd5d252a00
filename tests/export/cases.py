"""What is exported, once; an export takes seconds, so that what the fields do is seen in the tests of exports."""

from tests.checks import SpecCase
from tfseg.export import Export, Tflite

CASES = [
    SpecCase(Tflite(), None, {}, {"size": "test_tflite_is_float32_of_one_size_and_builtin"}),
    SpecCase(
        Export(tflite=Tflite(size=(8, 16))),
        None,
        {},
        {
            "tflite": "test_tflite_can_be_left_out",
            "examples": "test_the_next_version_leaves_earlier_ones_alone",
            "tolerance": "test_a_small_difference_passes_only_a_wider_tolerance",
        },
    ),
]

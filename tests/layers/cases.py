"""Test cases of all layers with tiny arguments; layers appear twice where an argument changes the computation."""

from tests.checks import LayerCase
from tfseg import layers

X = (2, 9, 12, 3)
SMALL = (2, 5, 4, 3)
VALUES = ("float32", "int32")
ALL = "the whole computation, under every policy"
RESIZED = "interpolation, see ops/resize.py"

CASES = [
    LayerCase(layers.Normalize, {"mode": "caffe"}, (X,), float32_inside=ALL),
    LayerCase(
        layers.Normalize, {"mode": "torch"}, (X,), ("uint8",), unlike={"gradient": "an integer image has no gradient"}
    ),
    LayerCase(layers.Normalize, {"mean": [1.0, 2.0, 3.0], "scale": 0.5, "reverse": True}, (X,), float32_inside=ALL),
    LayerCase(layers.CaffeMaxPooling2D, {"pool_size": 3, "strides": 2, "padding": 1}, (X,)),
    LayerCase(layers.CaffeMaxPooling2D, {"pool_size": 2}, (X,)),
    LayerCase(layers.CaffeAveragePooling2D, {"pool_size": 3, "strides": 2, "padding": 1}, (X,)),
    LayerCase(
        layers.BilinearConv2DTranspose, {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}, (X,), fixed=1
    ),
    LayerCase(
        layers.BilinearConv2DTranspose,
        {"filters": 3, "kernel_size": 4, "strides": 2, "use_bias": True, "trainable": True},
        (X,),
        learned=2,
    ),
    LayerCase(layers.AtrousMaxPooling2D, {"pool_size": [3, 2], "dilation_rate": 2, "padding": 1}, (X,)),
    LayerCase(layers.AtrousMaxPooling2D, {"pool_size": 2, "dilation_rate": [1, 4]}, (X,)),
    LayerCase(layers.MirrorPadding2D, {"padding": 17, "multiple": 8}, (X,)),
    LayerCase(layers.MirrorPadding2D, {"padding": 2}, (SMALL,)),
    LayerCase(layers.ResizeBy, {"scale": 0.75}, (X,), float32_inside=RESIZED, unlike={"xla": "see ops/resize.py"}),
    LayerCase(layers.ResizeBy, {"scale": 1.5}, (SMALL,), float32_inside=RESIZED, unlike={"xla": "see ops/resize.py"}),
    LayerCase(
        layers.ZoomLike,
        {"factor": 3},
        (SMALL, X),
        ("float32", "uint8"),
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(layers.CropLike, {"offset": 2}, (X, SMALL)),
    LayerCase(layers.CropLike, {"offset": 0}, (X, SMALL), ("float32", "uint8")),
    LayerCase(
        layers.ResizeLike,
        {"align_corners": True},
        (SMALL, X),
        ("float32", "uint8"),
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(
        layers.ResizeLike,
        {"interpolation": "bilinear"},
        (SMALL, X),
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(layers.ResizeLike, {"interpolation": "nearest"}, (SMALL, X), float32_inside=ALL),
    LayerCase(layers.ResizeLike, {"interpolation": "nearest", "align_corners": True}, (X, SMALL), float32_inside=ALL),
    LayerCase(layers.MaxPoolingWithArgmax2D, {"pool_size": 3, "strides": 2, "padding": "same"}, (X,), outputs=2),
    LayerCase(layers.MaxPoolingWithArgmax2D, {"pool_size": [2, 3]}, (X,), outputs=2),
    LayerCase(
        layers.MaxPoolingWithArgmax2D,
        {"pool_size": 3, "strides": 2, "implementation": "native"},
        (X,),
        outputs=2,
        unlike={"xla": "no such kernel", "tflite": "no such operation", "neutral": "TensorFlow only"},
    ),
    LayerCase(layers.MaxUnpooling2D, {"pool_size": 3, "strides": 2, "padding": "same"}, (SMALL, SMALL), VALUES),
    LayerCase(layers.MaxUnpooling2D, {"pool_size": 2}, (SMALL, SMALL, X), (*VALUES, "uint8")),
    LayerCase(layers.FixedScale, {"factor": 0.01}, (X,), fixed=1),
    LayerCase(
        layers.AtrousConv2D, {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}, (X,), learned=2
    ),
    LayerCase(layers.AtrousConv2D, {"filters": 4, "kernel_size": 3, "dilation_rate": [2, 3]}, (X,), learned=2),
    LayerCase(layers.BatchNormalization, {"momentum": 0.5, "epsilon": 1e-2}, (X,), learned=2, fixed=2),
    LayerCase(layers.PadToSize, {"size": [10, 7]}, (X,)),
    LayerCase(layers.PadToSize, {"size": 3}, (SMALL,)),
    LayerCase(
        layers.PyramidPooling,
        {"filters": 4, "bins": [1, 2, 3], "momentum": 0.5, "epsilon": 1e-2},
        (X,),
        learned=9,
        fixed=6,
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(
        layers.PyramidPooling,
        {"filters": 2, "bins": [6], "align_corners": False, "norm": "group", "groups": 2},
        (SMALL,),
        learned=3,
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(
        layers.AtrousSpatialPyramidPooling,
        {"filters": 4, "rates": [1, 3], "separable": True, "activation": "tanh", "order": "pooling_first"},
        (X,),
        learned=3 * 7,
        fixed=2 * 7,
        whole_since="2.21",
        float32_inside="the mean over the feature map",
    ),
    LayerCase(
        layers.AtrousSpatialPyramidPooling,
        {
            "filters": 4,
            "rates": [2],
            "pointwise": False,
            "projection": False,
            "pool_size": 3,
            "align_corners": True,
            "norm": "group",
            "groups": 2,
        },
        (X,),
        learned=3 * 2,
        float32_inside=RESIZED,
        unlike={"xla": "see ops/resize.py"},
    ),
    LayerCase(
        layers.ParallelAtrousClassifier,
        {"num_classes": 5, "rates": [1, 4], "filters": 6, "dropout": 0.2},
        (X,),
        learned=12,
    ),
    LayerCase(layers.ParallelAtrousClassifier, {"num_classes": 5, "rates": [2, 3, 12]}, (X,), learned=6),
    LayerCase(layers.McDropout, {"rate": 0.25, "always_on": False, "noise_shape": [2, 1, 1, 3], "seed": 1}, (X,)),
    LayerCase(
        layers.LocalResponseNormalization,
        {"depth_radius": 1, "alpha": 2.0, "beta": 0.5, "bias": 3.0},
        ((2, 3, 4, 7),),
        float32_inside=ALL,
    ),
    LayerCase(layers.PadToGrid, {"multiple": 8, "remainder": 3, "value": [1.0, 2.0, 3.0]}, (X,)),
    LayerCase(
        layers.PadToGrid,
        {"multiple": 5, "value": 0.5},
        (X,),
        ("uint8",),
        unlike={"gradient": "an integer image has no gradient"},
    ),
    LayerCase(layers.AttentionToScale, {"scales": 2, "filters": 5}, (X, X, X, X), learned=4),
    LayerCase(
        layers.CrfRnn,
        {"theta_alpha": 4.0, "theta_beta": 50.0, "theta_gamma": 2.0, "bilateral_weight": 2.0, "spatial_weight": 1.0},
        (X, X),
        ("float32", "uint8"),
        learned=3,
        unlike={
            "xla": "the number of lattice vertices depends on the image",
            "tflite": "no sparse matrix product",
            "neutral": "TensorFlow only",
        },
    ),
    LayerCase(
        layers.CrfRnn,
        {
            "theta_alpha": 2.0,
            "theta_beta": 50.0,
            "kernel_weights": "per_class",
            "compatibility": [[-1.0, 0.5, 0.0], [0.5, -1.0, 0.0], [0.0, 0.0, -2.0]],
            "inference_iterations": 3,
            "normalization": "symmetric",
            "kernel": "convolutional",
            "window": 5,
        },
        (X, X),
        ("float32", "uint8"),
        learned=2,
    ),
    LayerCase(
        layers.DilatedContext,
        {"num_classes": 3, "size": "large", "dilation_rates": [1, 2, 1]},
        (X,),
        learned=8,
    ),
    LayerCase(
        layers.DilatedContext,
        {"num_classes": 3, "dilation_rates": [2, 1], "padding": "once", "use_bias": False},
        (X,),
        learned=3,
    ),
    LayerCase(
        layers.AtrousConv2D,
        {"filters": 4, "kernel_size": [3, 2], "dilation_rate": 2, "padding": [3, 1], "activation": "relu"},
        (X,),
        learned=2,
    ),
    LayerCase(
        layers.AtrousConv2D,
        {"filters": 4, "kernel_size": 7, "strides": 2, "padding": 3, "use_bias": False},
        (X,),
        learned=1,
    ),
    LayerCase(
        layers.AtrousSeparableConv2D,
        {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": 2, "depth_multiplier": 2},
        (X,),
        learned=3,
        whole_since="2.21",
    ),
    LayerCase(
        layers.AtrousSeparableConv2D, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": 1}, (X,), learned=3
    ),
]

"""Names that other tools use for keys of a pipeline file."""

KEYS = {
    "lr": "learning_rate",
    "lr0": "learning_rate",
    "base_lr": "learning_rate",
    "batch": "batch_size",
    "bs": "batch_size",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "max_steps": "steps",
    "max_iters": "steps",
    "iterations": "steps",
    "crop_size": "crop",
    "imgsz": "crop",
    "cat_max_ratio": "max_share",
    "ignore_index": "ignore",
    "class_names": "names",
    "num_classes": "names",
    "n_classes": "names",
    "nc": "names",
    "classes": "names",
    "pretrained": "weights",
    "encoder": "backbone",
    "random_seed": "seed",
    "amp": "precision",
    "mixed_precision": "precision",
}
"""Keys of other tools and the corresponding keys of a pipeline file."""

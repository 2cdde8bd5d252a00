"""What keeps the parts of a network from working together."""

from collections.abc import Iterable, Iterator

from tfseg.backbones.features import Backbone
from tfseg.errors import TfsegError
from tfseg.spec.problems import Fault, told, under


class ModelError(TfsegError):
    """A network that cannot be built from what its spec says."""

    exit_code = 2


def refuse(problems: Iterable[Fault]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if lines := told(under("model", problems)):
        raise ModelError(lines)


def overhanging(backbone: Backbone) -> str | None:
    """Why a decoder cannot lay finer stages of `backbone` beside its deepest one without cropping them, or None."""
    if not backbone.overhanging or backbone.padded:  # whose deepest stage is refused by itself
        return None
    form = getattr(backbone, "form", "overhanging")
    return (
        f"finer stages of {backbone.type} in its {form} form reach beyond the image, and this decoder does not crop "
        "them. Set model.backbone.form to same"
    )


def beyond_the_image(backbone: Backbone) -> Iterator[Fault]:
    """Why a decoder cannot be put on a backbone that pads by more than its kernels, if it does."""
    if backbone.padded:
        yield (
            (),
            (
                f"places of {backbone.type} in its original form lie beyond the image, and this decoder's scores are "
                "not cropped. Set model.backbone.form to another one, or the decoder to fcn"
            ),
        )

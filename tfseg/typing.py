"""Types for public signatures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Tensor = Any
else:

    class Tensor:
        """A tensor of the Keras backend, symbolic or with values, or an array that converts to one.

        Type checkers treat it as `Any`, because the backends have no common type.
        """

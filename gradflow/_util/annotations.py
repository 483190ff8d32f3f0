"""Words for annotations that hold for a static type checker and at run time.

The tests check every annotation at every call; see conftest.py.
"""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from jaxtyping import Array, Float

AnyArray = Array | np.ndarray
"""JAX's arrays or NumPy's: what JAX's functions take."""

if TYPE_CHECKING:
    T = TypeVar("T")
    Checked = Annotated[T, "anything else is refused"]
    Reals = np.ndarray
else:
    Reals = Float[np.ndarray, "..."] | np.float64
    """Floating-point numbers; NumPy's functions make scalars of arrays without axes."""

    class Checked:
        """`Checked[T]`: an argument that should be a T, and that the function itself checks.

        A type checker sees T. What checks annotations at run time lets everything through, so that
        the function can raise its own error, with value and remedy.
        """

        def __class_getitem__(cls, kind: Any) -> Any:
            return Annotated[Any, kind]

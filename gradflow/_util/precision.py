"""Products of matrices at their numbers' own precision, on every device."""

import os
import sys
from typing import Any

_VARIABLE, _OPTION = "JAX_DEFAULT_MATMUL_PRECISION", "jax_default_matmul_precision"


def keep_full_products() -> None:
    """Have JAX multiply float32 as float32, unless someone has chosen otherwise by name.

    Accelerators would round the factors of every product to 11 bits (TF32) or 8 (bfloat16), and
    results with them. A choice by the environment variable JAX_DEFAULT_MATMUL_PRECISION or by
    `jax.config.update("jax_default_matmul_precision", ...)` stands, before or after. JAX need not
    be imported.
    """
    jax: Any = sys.modules.get("jax")
    if hasattr(jax, "config") and hasattr(jax.config, _OPTION):
        if getattr(jax.config, _OPTION) is None:
            jax.config.update(_OPTION, "highest")
    elif not os.environ.get(_VARIABLE):
        os.environ[_VARIABLE] = "highest"

"""What the tree of files at /opt is called, which follows from the layers it is made of.

Rule 1: no layers, no tree; one layer is its own package's tree; several are a tree of their own, merged in order.
Source: "Managing Lambda dependencies with layers" in the AWS Lambda developer guide.
"""

import hashlib
from collections.abc import Sequence


def opt_name(layers: Sequence[str]) -> str | None:
    """The name of the tree for these layers' packages (lower-case hex SHA-256, in order), None for no layers.

    The name of a merged tree has the form of a SHA-256 too, so that one set can hold everything that is needed.
    """
    if len(layers) < 2:  # noqa: PLR2004 - from two on there is something to merge
        return layers[0] if layers else None
    return hashlib.sha256(" ".join(layers).encode("ascii")).hexdigest()

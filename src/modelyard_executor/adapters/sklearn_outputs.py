"""What a fitted estimator answers, and how it is sent."""

from typing import Any


def labels(estimator: Any) -> bool:
    """Whether ``predict`` gives labels (classes, clusters, outliers), not quantities."""
    from sklearn import base

    if base.is_classifier(estimator) or hasattr(estimator, "classes_"):
        return True
    cluster = getattr(base, "is_clusterer", None)
    if cluster is not None:
        return bool(cluster(estimator) or base.is_outlier_detector(estimator))
    return getattr(estimator, "_estimator_type", None) in ("clusterer", "outlier_detector")


def sendable(array: Any, numpy: Any) -> Any:
    """Integers as INT64; objects that are all numbers or booleans as such; anything else as text."""
    if array.dtype.kind in "iu":
        return array.astype("int64", copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        return array.astype("float64")
    if array.dtype.kind == "O":
        kinds = {type(element) for element in array.ravel().tolist()}
        if kinds <= {bool}:
            return array.astype("bool")
        if kinds <= {int}:
            return array.astype("int64")
        if kinds <= {int, float}:
            return array.astype("float64")
    return array

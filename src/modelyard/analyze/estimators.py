"""What a fitted scikit-learn estimator takes and gives, from its attributes alone.

The names of inputs and outputs are those that the executor's sklearn adapter uses. Where attributes do
not settle it, the answer is None, and the executor tells after loading.
"""

from modelyard.analyze.objects import Array, Instance, attributes, class_of
from modelyard.analyze.pickle_opcodes import array_of
from modelyard.core.signature import Signature, TensorSpec

_PROBABILITIES = frozenset(
    {"LogisticRegression", "LogisticRegressionCV", "RandomForestClassifier", "ExtraTreesClassifier"}
    | {"DecisionTreeClassifier", "ExtraTreeClassifier", "GradientBoostingClassifier", "AdaBoostClassifier"}
    | {"HistGradientBoostingClassifier", "BaggingClassifier", "KNeighborsClassifier", "GaussianNB"}
    | {"RadiusNeighborsClassifier", "MultinomialNB", "BernoulliNB", "ComplementNB", "CategoricalNB"}
    | {"LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis", "GaussianProcessClassifier"}
    | {"LabelPropagation", "LabelSpreading", "CalibratedClassifierCV"}
)
_LABELS_ONLY = frozenset(
    {"LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron", "PassiveAggressiveClassifier"}
)
_ONE_NUMBER = frozenset(
    {"SVR", "NuSVR", "LinearSVR", "SGDRegressor", "HuberRegressor", "GradientBoostingRegressor"}
    | {"HistGradientBoostingRegressor", "AdaBoostRegressor", "BayesianRidge", "ARDRegression"}
    | {"PoissonRegressor", "GammaRegressor", "TweedieRegressor", "QuantileRegressor", "TheilSenRegressor"}
    | {"PassiveAggressiveRegressor", "VotingRegressor"}
)
_BY_COEFFICIENTS = frozenset(
    {"LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"}
)
_BY_OUTPUTS = frozenset(
    {"DecisionTreeRegressor", "ExtraTreeRegressor", "RandomForestRegressor", "ExtraTreesRegressor"}
    | {"MLPRegressor"}
)
_SEARCHES = frozenset(
    {"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"}
)
# Their input columns may be text or categories, so "all numbers" would be a guess.
_ANY_COLUMNS = frozenset(
    {"ColumnTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder", "FunctionTransformer"}
)


def steps_of(estimator: object) -> list[object]:
    """The estimators that a record walks through: the steps of (nested) pipelines and searches."""
    return _steps(estimator, 0)


def _steps(estimator: object, depth: int) -> list[object]:
    kind = class_of(estimator)
    if kind is None or depth > 8:
        return [estimator]
    held = attributes(estimator)
    if kind.name in _SEARCHES and isinstance(held.get("best_estimator_"), Instance):
        return _steps(held["best_estimator_"], depth + 1)
    steps = held.get("steps")
    if kind.name == "Pipeline" and isinstance(steps, list):
        found: list[object] = []
        for step in steps[:1000]:
            if isinstance(step, tuple) and len(step) == 2 and isinstance(step[1], Instance):
                found += _steps(step[1], depth + 1)
        return found or [estimator]
    return [estimator]


def feature_names(steps: list[object]) -> list[str] | None:
    """The names of the columns that the first step was fitted with, if it was given names."""
    array = array_of(attributes(steps[0]).get("feature_names_in_"))
    if array is None or array.values is None:
        return None
    names = [name for name in array.values if isinstance(name, str)]
    return names if len(names) == len(array.values) and len(set(names)) == len(names) else None


def feature_count(steps: list[object]) -> int | None:
    """``n_features_in_`` of the first step."""
    count = attributes(steps[0]).get("n_features_in_")
    return count if isinstance(count, int) and 0 < count < 1 << 31 else None


def classes_of(steps: list[object]) -> Array | None:
    """The classes that the last step tells apart."""
    return array_of(attributes(steps[-1]).get("classes_"))


def signature_of(steps: list[object]) -> Signature | None:
    """Inputs and outputs of the whole chain, or None when only loading can tell."""
    inputs = _inputs(steps)
    outputs = _classifier(steps) or _regressor(steps[-1])
    if inputs is None or outputs is None:
        return None
    return Signature(inputs=inputs, outputs=outputs, batched=True)


def _inputs(steps: list[object]) -> tuple[TensorSpec, ...] | None:
    first = class_of(steps[0])
    if first is None or first.name in _ANY_COLUMNS:
        return None
    names = feature_names(steps)
    if names:
        return tuple(TensorSpec(name=name, datatype="FP64", shape=(), kind="table") for name in names)
    held = attributes(steps[0])
    count = feature_count(steps)
    if count is None or "feature_names_in_" in held:
        return None
    return (TensorSpec(name="features", datatype="FP64", shape=(count,), kind="table"),)


def _classifier(steps: list[object]) -> tuple[TensorSpec, ...] | None:
    kind, classes = class_of(steps[-1]), classes_of(steps)
    if kind is None or classes is None or len(classes.shape) != 1:
        return None
    datatype = {"i": "INT64", "u": "INT64", "U": "BYTES", "S": "BYTES"}.get(classes.family)
    if classes.family == "O" and classes.values and all(isinstance(value, str) for value in classes.values):
        datatype = "BYTES"
    certain = _gives_probabilities(kind.name, attributes(steps[-1]))
    if datatype is None or certain is None:
        return None
    label = TensorSpec(name="label", datatype=datatype, shape=(), kind="label")
    if not certain:
        return (label,)
    return (label, TensorSpec(name="probabilities", datatype="FP64", shape=(classes.shape[0],)))


def _gives_probabilities(name: str, held: dict[str, object]) -> bool | None:
    """Whether the classifier has ``predict_proba``; None when that is not known."""
    if name in _PROBABILITIES:
        return True
    if name in _LABELS_ONLY:
        return False
    if name in ("SVC", "NuSVC"):
        return {True: True, False: False, "deprecated": False}.get(_scalar(held.get("probability")))
    if name == "SGDClassifier":
        return held.get("loss") in ("log_loss", "log", "modified_huber")
    if name == "MLPClassifier":
        return None if held.get("out_activation_") == "logistic" and held.get("n_outputs_") != 1 else True
    return None


def _scalar(value: object) -> bool | str | None:
    return value if isinstance(value, bool | str) else None


def _regressor(last: object) -> tuple[TensorSpec, ...] | None:
    kind = class_of(last)
    if kind is None:
        return None
    held = attributes(last)
    shape: tuple[int, ...] | None = None
    if kind.name in _ONE_NUMBER:
        shape = ()
    elif kind.name in _BY_COEFFICIENTS:
        coefficients = array_of(held.get("coef_"))
        if coefficients is not None and len(coefficients.shape) in (1, 2):
            shape = () if len(coefficients.shape) == 1 else (coefficients.shape[0],)
    elif kind.name in _BY_OUTPUTS:
        count = held.get("n_outputs_")
        if isinstance(count, int) and 0 < count < 1 << 31:
            shape = () if count == 1 else (count,)
    if shape is None:
        return None
    return (TensorSpec(name="prediction", datatype="FP64", shape=shape),)

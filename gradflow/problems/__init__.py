"""What is fitted: losses as functions of a matrix, a tensor or a vector W; real data."""

from gradflow.problems.base import (
    AbstractProblem,
    AbstractQuadraticProblem,
    LossConvention,
    astype,
)
from gradflow.problems.classification import Classification
from gradflow.problems.completion import AbstractCompletion, MatrixCompletion, TensorCompletion
from gradflow.problems.entrywise import (
    AbstractEntrywiseCompletion,
    EntrywiseConvention,
    HuberCompletion,
    LogisticCompletion,
)
from gradflow.problems.function import LossFunction
from gradflow.problems.movielens import movielens_100k
from gradflow.problems.ratings import Ratings, read_ratings
from gradflow.problems.ratings_format import RatingsFormat
from gradflow.problems.regression import LeastSquares
from gradflow.problems.sensing import AbstractSensing, HuberSensing, MatrixSensing, TensorSensing
from gradflow.problems.sparse import SparseCompletion

__all__ = [
    "AbstractCompletion",
    "AbstractEntrywiseCompletion",
    "AbstractProblem",
    "AbstractQuadraticProblem",
    "AbstractSensing",
    "Classification",
    "EntrywiseConvention",
    "HuberCompletion",
    "HuberSensing",
    "LeastSquares",
    "LogisticCompletion",
    "LossConvention",
    "LossFunction",
    "MatrixCompletion",
    "MatrixSensing",
    "Ratings",
    "RatingsFormat",
    "SparseCompletion",
    "TensorCompletion",
    "TensorSensing",
    "astype",
    "movielens_100k",
    "read_ratings",
]

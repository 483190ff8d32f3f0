"""What is fitted: losses as functions of a matrix, a tensor or a vector W; real data."""

from gradflow.problems.base import AbstractProblem, LossConvention, astype
from gradflow.problems.completion import MatrixCompletion, TensorCompletion
from gradflow.problems.movielens import Ratings, movielens_100k
from gradflow.problems.regression import LeastSquares
from gradflow.problems.sensing import MatrixSensing

__all__ = [
    "AbstractProblem",
    "LeastSquares",
    "LossConvention",
    "MatrixCompletion",
    "MatrixSensing",
    "Ratings",
    "TensorCompletion",
    "astype",
    "movielens_100k",
]

"""The runs of zhao2022's Table 2: splits of the ratings, and what is trained on them.

What the paper leaves open: the bias of depth 1 is one number, since Adam alone then comes near the
printed error (on u1 1.90 where 1.82 is printed, and so with a bias for each item; with biases for
users and items it comes to 1.52 and falls). The "Frobenius loss" is the sum or the mean of squares,
and the search has both: under Adam they differ in how much the penalty's weight means. Embeddings
are trained on the mean over a mini-batch, as in Spotlight. All models learn from the training rows
less those held out for validation, and are not trained again on both.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow.problems.movielens import movielens_100k
from gradflow.problems.ratings import Ratings
from gradflow.sweeps.experiment import Precision

from . import _recommender as recommender
from . import _training as recommender_training
from ._recommender import Bias, Loss

Data = Literal["movielens", "drawn"]
Model = Literal["depth 1", "embeddings"]
REMEDY = "install them with `pip install --no-deps neighbors==0.2.1`"


@dataclass(frozen=True)
class Split:
    """What is learnt from and what is kept for the test.

    Attributes:
      data: the real ratings, or drawn ones.
      percent: of the ratings in the test set: 20 or 10.
      number: k of the split u<k> at 20, seed of a random draw at 10.
      held_out: share of the other rows on which configurations are compared.
    """

    data: Data
    percent: int
    number: int
    held_out: float


@dataclass(frozen=True)
class Matrix:
    """A run of depth 1.

    Attributes:
      split: of the ratings.
      optimizer: a name in `gradflow.optimizers`.
      rate: learning rate.
      weight: of the penalty; 0 for none.
      renewed: iterations for which the penalty's polar factor is kept.
      bias: which biases there are.
      loss: mean or sum of squares.
      std: of the initial weights.
      steps: iterations.
      every: iterations between two looks at the errors.
      seed: of the start.
    """

    has_flow: ClassVar[bool] = False
    split: Split
    optimizer: str
    rate: float
    weight: float
    renewed: int
    bias: Checked[Bias]
    loss: Loss
    std: float
    steps: int
    every: int
    seed: int


@dataclass(frozen=True)
class Embedding:
    """A run of the embeddings.

    Attributes:
      split: of the ratings.
      optimizer: a name in `gradflow.optimizers`.
      rate: learning rate.
      batch: ratings in a mini-batch.
      dimension: of an embedding.
      user_weight: of the penalty on the users' embeddings; 0 for none.
      item_weight: of that on the items'.
      renewed: batches for which the penalties' polar factors are kept.
      epochs: at most.
      seed: of start and order.
    """

    has_flow: ClassVar[bool] = False
    split: Split
    optimizer: str
    rate: float
    batch: int
    dimension: int
    user_weight: float
    item_weight: float
    renewed: int
    epochs: int
    seed: int


Run = Matrix | Embedding


def model_of(cell: Run) -> Model:
    """The model's name in the table."""
    return "depth 1" if isinstance(cell, Matrix) else "embeddings"


def method_of(cell: Run) -> str:
    """One of `METHODS`."""
    weights = (cell.weight,) if isinstance(cell, Matrix) else (cell.user_weight, cell.item_weight)
    return {"gd": "GD", "adam": "Adam"}[cell.optimizer] + ("+penalty" if any(weights) else "")


@cache
def ratings_of(data: Data) -> Ratings:
    """The real ratings, or 1,500 drawn ones of 40 users and 60 items.

    Raises:
      ValueError: if the real ones are not installed.
    """
    if data == "movielens":
        try:
            return movielens_100k()
        except FileNotFoundError:
            raise ValueError(
                f"the ratings of MovieLens 100K are not installed; {REMEDY}."
            ) from None
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(40 * 60)[:1500], 60)
    kinds = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 60))
    level = 3.5 + 0.4 * rng.normal(size=(40, 1)) + 0.5 * rng.normal(size=(1, 60)) + 0.5 * kinds
    seen = (level + 0.5 * rng.normal(size=level.shape))[users, items]
    return Ratings(users, items, np.clip(np.round(seen), 1, 5), np.arange(1500))


def rows_of(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Rows outside of the test set and in it."""
    ratings = ratings_of(split.data)
    if split.percent == 20:
        return ratings.fold(split.number)
    count = len(ratings.ratings)
    mixed = np.random.default_rng(split.number).permutation(count)
    return np.sort(mixed[count // 10 :]), np.sort(mixed[: count // 10])


def check(cell: Run) -> None:
    """Refuse a run that makes no sense.

    Raises:
      ValueError: on a value out of range.
    """
    if cell.optimizer not in ("gd", "adam"):
        raise ValueError(f"optimizer must be gd or adam, but it is {cell.optimizer!r}.")
    if not 0 < cell.rate < np.inf:
        raise ValueError(f"rate must be above 0, but it is {cell.rate}.")
    counts = ("steps", "every") if isinstance(cell, Matrix) else ("batch", "dimension", "epochs")
    for name in (*counts, "renewed"):
        if getattr(cell, name) < 1:
            raise ValueError(f"{name} must be at least 1, but it is {getattr(cell, name)}.")
    weights = ("weight",) if isinstance(cell, Matrix) else ("user_weight", "item_weight")
    for name in weights:
        if not 0 <= getattr(cell, name) < np.inf:
            raise ValueError(
                f"{name} must be at least 0 (0: no penalty), but it is {getattr(cell, name)}."
            )
    if isinstance(cell, Matrix):
        recommender.check_bias(cell.bias)
        if cell.loss not in ("mean", "sum"):
            raise ValueError(f"loss must be mean or sum, but it is {cell.loss!r}.")
        if not 0 < cell.std < np.inf:
            raise ValueError(f"std must be above 0, but it is {cell.std}.")
        if cell.steps % cell.every:
            raise ValueError(
                f"steps must be a multiple of every, but they are {cell.steps} and {cell.every}."
            )


@dataclass(frozen=True)
class Trained:
    """Trains a run's model when called."""

    cell: Run
    precision: Precision

    def __call__(self) -> Mapping[str, Any]:
        cell = self.cell
        ratings = ratings_of(cell.split.data)
        learn, test = rows_of(cell.split)
        known = recommender.parts(
            ratings, learn, test, cell.split.held_out, cell.split.number, jnp.dtype(self.precision)
        )
        options = dataclasses.asdict(cell)
        del options["split"]
        train = (
            recommender_training.train_matrix
            if isinstance(cell, Matrix)
            else recommender_training.train_embeddings
        )
        return train(known, ratings.shape, **options)

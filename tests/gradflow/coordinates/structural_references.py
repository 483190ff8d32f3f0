"""Ends of flows in long arithmetic, by the Taylor oracle; a slow test redoes them."""

from typing import NamedTuple

import numpy as np

import gradflow as gf


class Reference(NamedTuple):
    """A flow from balanced factors of `start`, and where it ends.

    Attributes:
      problem: what is fitted.
      start: the product.
      depth: N.
      time: of the end.
      loss: there.
      log_s: logarithms of the singular values there, in falling order.
      entry: the first entry of the product there, which is unobserved.
    """

    problem: gf.MatrixCompletion
    start: np.ndarray
    depth: int
    time: float
    loss: float
    log_s: tuple[float, ...]
    entry: float


def start(shape, seed, zero_excess=False):
    """A random product whose determinant, or that of its left square, is above zero."""
    w = 0.1 * np.random.default_rng(seed).normal(size=shape)
    if zero_excess:
        w[:, min(shape) :] = 0
    if np.linalg.det(w[:, : shape[0]]) < 0:
        w[:, 0] *= -1
    return w


def two_blowups():
    """Two uncoupled 2x2 blow-ups, whose small directions collapse at different rates."""
    target = np.zeros((4, 4))
    target[0, 1] = target[1, 0] = 1
    target[2, 3] = target[3, 2] = 0.625
    seen = [at for at in np.ndindex(4, 4) if at not in ((0, 0), (2, 2))]
    return gf.MatrixCompletion((4, 4), seen, [target[at] for at in seen])


TWO = np.zeros((4, 4))
TWO[:2, :2] = [[0.1, 0.03], [-0.02, 0.08]]
TWO[2:, 2:] = [[0.09, -0.01], [0.025, 0.11]]
FLIPS = np.array(
    [
        [-0.09856584685462895, -0.03974450845970619, 0.027311490964755665],
        [-0.20288954692967642, 0.1513429779922574, 0.05594417744701363],
        [0.067675580117761, -0.0416058264827321, -0.06172677501046092],
    ]
)
"""In the coordinates of factors, round-off flips this determinant's sign near a loss of 0.19."""


def blowup(shape):
    return gf.synthetic.norm_blowup(shape=shape)


REFERENCES = {
    "3x3, flips as factors": Reference(
        blowup((3, 3)),
        FLIPS,
        2,
        80.0,
        0.01046028617803278,
        (1.9333231438250273, -3.0873290500109137e-44, -61.32072823461959),
        -6.7706339218827365,
    ),
    "3x3": Reference(
        blowup((3, 3)),
        start((3, 3), 0),
        2,
        34.64691584768739,
        0.018901310335237727,
        (1.6371350880584463, -1.387917389859965e-18, -29.407954197783578),
        -4.952555651141997,
    ),
    "4x4": Reference(
        blowup((4, 4)),
        start((4, 4), 1),
        2,
        33.77332995012047,
        0.019623761421914406,
        (1.6183419150745495, -1.4025113394694316e-28, -3.893887976646042e-18, -29.94698193479019),
        4.853526152364362,
    ),
    "5x5": Reference(
        blowup((5, 5)),
        start((5, 5), 2),
        2,
        28.53929900842776,
        0.0282781091432881,
        (
            1.4351390552153975,
            -3.6922159047945945e-24,
            -6.711043067841491e-23,
            -2.7273721780991567e-10,
            -36.97178646171214,
        ),
        3.973890359928652,
    ),
    "3x5, no excess columns": Reference(
        blowup((3, 5)),
        start((3, 5), 3, zero_excess=True),
        2,
        54.41789319002856,
        0.0191193736044276,
        (1.6313882080597693, -4.248260037388856e-18, -71.04436428546106),
        4.922087053194195,
    ),
    "two at once": Reference(
        two_blowups(),
        TWO,
        2,
        52.903741347027285,
        0.01954439985958721,
        (1.842864922047995, 1.1930125335361206, -23.175266419405226, -30.527829059353376),
        6.159949458977098,
    ),
    "3x3, depth 3": Reference(
        blowup((3, 3)),
        start((3, 3), 0),
        3,
        19.908489943274784,
        0.019746587055142262,
        (1.618037674184812, -4.479074517191191e-09, -7.554133002025427),
        -4.851530541109298,
    ),
}
SMALL = np.array([[1.0, 0.3], [-0.2, 0.8]])
TINY = {
    (2, "generic", -3): (4.6848548606083975, 0.24134135337528762),
    (2, "generic", -12): (15.225529362243323, 0.22130625263427783),
    (2, "generic", -100): (116.29596335595495, 0.24957175680197552),
    (2, "generic", -300): (346.7384681291293, 0.22761396523299676),
    (2, "identity", -6): (8.272041794028253, 0.21763376588878655),
    (2, "identity", -300): (346.73542465107994, 0.21933909287431422),
    (3, "generic", -6): (100.74590051068276, 0.22184222419955116),
    (3, "identity", -12): (10000.076972924458, 0.2257144532188458),
    (3, "generic", -20): (4667462.618266907, 0.22280613693187815),
    (4, "identity", -6): (500.4793525011277, 0.22511836803138974),
    (4, "generic", -12): (504258.96814464085, 0.23966114532876825),
}
"""(depth, generic or identity, exponent of ten) -> time and loss, of the 2x2 blow-up from
10^exponent times `SMALL` or the identity."""

"""Make optimizers.npz: what PyTorch's optimisers do on two small problems, in float64.

Run from the repository's root, in an environment with NumPy and PyTorch (any build for the CPU):

    pip install numpy torch==2.13.0
    python tests/golden/make_optimizers.py

"deep" is a completion of a 6 x 5 matrix by three factors. In "weighted", one matrix W is fitted
with a weight for each row, 1/2 sum_ij w_i (W_ij - target_ij)^2: gradients far above, around and
below each epsilon, and none at all. Factors are kept at `STEPS`, flattened one after the other.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TORCH = "2.13.0"
FILE = Path(__file__).with_name("optimizers.npz")
STEPS = (1, 2, 5, 10, 50, 100)
SIZES = (5, 5, 5, 6)  # of the deep problem: W_1 is 5 x 5, W_3 is 6 x 5


class Case(NamedTuple):
    """One optimiser: in PyTorch, and in gradflow.optimizers."""

    torch_class: str
    torch_options: dict[str, Any]
    name: str
    options: dict[str, float]
    rate: float


# By default as it comes in PyTorch; then with options that make the rules' differences larger.
CASES = {
    "gd": Case("SGD", {}, "gd", {}, 0.02),
    "momentum": Case("SGD", {"momentum": 0.9}, "momentum", {}, 0.01),
    "adam": Case("Adam", {}, "adam", {}, 0.02),
    "amsgrad": Case("Adam", {"amsgrad": True}, "amsgrad", {}, 0.02),
    "adagrad": Case("Adagrad", {}, "adagrad", {}, 0.1),
    "adamax": Case("Adamax", {}, "adamax", {}, 0.02),
    "rmsprop": Case("RMSprop", {}, "rmsprop", {}, 0.01),
    "adadelta": Case("Adadelta", {}, "adadelta", {}, 1.0),
    "adamw": Case("AdamW", {}, "adamw", {}, 0.02),
    "nadam": Case("NAdam", {}, "nadam", {}, 0.02),
    "radam": Case("RAdam", {}, "radam", {}, 0.02),
    "momentum 0.5": Case("SGD", {"momentum": 0.5}, "momentum", {"momentum": 0.5}, 0.01),
    "adam, short memory": Case(
        "Adam", {"betas": (0.5, 0.99), "eps": 1e-3}, "adam", {"b1": 0.5, "b2": 0.99, "eps": 1e-3},
        0.02),
    "amsgrad, short memory": Case(
        "Adam", {"amsgrad": True, "betas": (0.5, 0.9)}, "amsgrad", {"b1": 0.5, "b2": 0.9}, 0.02),
    "adagrad, filled": Case(
        "Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-3}, "adagrad",
        {"initial_accumulator_value": 0.1, "eps": 1e-3}, 0.1),
    "adamax, short memory": Case(
        "Adamax", {"betas": (0.5, 0.99)}, "adamax", {"b1": 0.5, "b2": 0.99}, 0.02),
    "rmsprop, long memory": Case(
        "RMSprop", {"alpha": 0.995, "eps": 1e-3}, "rmsprop", {"decay": 0.995, "eps": 1e-3}, 0.005),
    "adadelta, short memory": Case(
        "Adadelta", {"rho": 0.5, "eps": 1e-4}, "adadelta", {"rho": 0.5, "eps": 1e-4}, 1.0),
    "adamw, strong decay": Case(
        "AdamW", {"weight_decay": 1.0}, "adamw", {"weight_decay": 1.0}, 0.02),
    "nadam, fast decay": Case(
        "NAdam", {"betas": (0.8, 0.99), "momentum_decay": 0.5}, "nadam",
        {"b1": 0.8, "b2": 0.99, "momentum_decay": 0.5}, 0.02),
    "radam, short memory": Case(
        "RAdam", {"betas": (0.8, 0.9), "eps": 1e-3}, "radam", {"b1": 0.8, "b2": 0.9, "eps": 1e-3},
        0.02),
    "radam, never rectified": Case("RAdam", {"betas": (0.9, 0.5)}, "radam", {"b2": 0.5}, 0.02),
}  # fmt: skip


def problems() -> dict[str, np.ndarray]:
    """Data and starts of both problems."""
    random = np.random.default_rng(20)
    truth = random.normal(size=(6, 2)) @ random.normal(size=(2, 5))
    mask = np.zeros(30)
    mask[random.choice(30, size=18, replace=False)] = 1.0
    found = {"deep_mask": mask.reshape(6, 5), "deep_target": truth}
    for k, (columns, rows) in enumerate(zip(SIZES, SIZES[1:], strict=False), 1):
        found[f"deep_start_{k}"] = 0.5 * random.normal(size=(rows, columns))
    found["weighted_weights"] = np.array([1.0, 1e-4, 1e-8, 1e-9, 1e-11, 0.0])[:, None]
    found["weighted_target"] = random.normal(size=(6, 5))
    found["weighted_start_1"] = random.normal(size=(6, 5))
    return found


def main() -> None:
    """Run everything and write the file."""
    import torch  # here, since the tests take the cases from this module and need no PyTorch

    if torch.__version__.split("+")[0] != TORCH:
        raise SystemExit(f"This is PyTorch {torch.__version__}; install torch=={TORCH}.")
    torch.set_default_dtype(torch.float64)  # else NAdam keeps its product of momenta in float32
    torch.set_num_threads(1)
    data = problems()
    tensors = {name: torch.tensor(value) for name, value in data.items()}

    def deep(factors: list[Any]) -> Any:
        product = factors[2] @ factors[1] @ factors[0]
        residual = tensors["deep_mask"] * (product - tensors["deep_target"])
        return 0.5 * residual.square().sum()

    def weighted(factors: list[Any]) -> Any:
        residual = factors[0] - tensors["weighted_target"]
        return 0.5 * (tensors["weighted_weights"] * residual.square()).sum()

    for problem, loss in (("deep", deep), ("weighted", weighted)):
        starts = [tensors[name] for name in data if name.startswith(f"{problem}_start")]
        for label, case in CASES.items():
            factors = [start.clone().requires_grad_() for start in starts]
            rule = getattr(torch.optim, case.torch_class)(
                factors, lr=case.rate, **case.torch_options
            )
            kept = []
            for step in range(1, max(STEPS) + 1):
                rule.zero_grad()
                loss(factors).backward()
                rule.step()
                if step in STEPS:
                    kept.append(np.concatenate([f.detach().numpy().ravel() for f in factors]))
            data[f"{problem}/{label}"] = np.array(kept)
    np.savez_compressed(FILE, **data, torch=np.array(TORCH))


if __name__ == "__main__":
    main()

"""The influence problem: losses, gradients and curvature products of one trained regressor.

The loss of a molecule z is L(z) = (f(z) - y)^2 on standardised labels; f is the regressor in evaluation mode, with its
random features frozen. All vectors are flat, over the parameters that training could change.

Sources: Koh and Liang 2017 (1703.04730) for influence; Bae et al. 2022 (2209.05364) for the damped Gauss-Newton matrix.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, jvp

from chemsieve.errors import InfluenceDivergence
from chemsieve.models.regressor import Regressor
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import by_length, padded, sent

log = logging.getLogger(__name__)

LARGE_POOL = 2000  # molecules from which finding a step for central differences pays
DIFFERENCE_ERROR = 0.01  # relative error up to which central differences stand for forward mode


@dataclass(frozen=True)
class Molecules:
    """Token ids of molecules and their standardised labels (n,)."""

    ids: Sequence[Sequence[int]]
    labels: np.ndarray

    def take(self, positions: Sequence[int] | np.ndarray) -> "Molecules":
        """The molecules at ``positions`` (0-based), in that order."""
        return Molecules([self.ids[i] for i in positions], self.labels[list(positions)])

    @staticmethod
    def joined(parts: Sequence["Molecules"]) -> "Molecules":
        """All molecules of some parts, in their order."""
        return Molecules([row for part in parts for row in part.ids], np.concatenate([part.labels for part in parts]))

    def __len__(self) -> int:
        return len(self.ids)


def check_finite(values: Tensor, what: str) -> None:
    """Raise where a number is not finite: a NaN must never be sorted as if it were a score."""
    if not bool(torch.isfinite(values).all()):
        raise InfluenceDivergence(f"influence: {what} is not finite; lower the learning rate or use another checkpoint")


class _Scattered:
    """Numbers of (n,) molecules that come in batches: left where they are computed, and read once, float64.

    A look at each batch would wait for a GPU.
    """

    def __init__(self, count: int):
        self.count = count
        self.positions: list[np.ndarray] = []
        self.parts: list[Tensor] = []

    def add(self, positions: np.ndarray, values: Tensor) -> None:
        """The values (batch,) of the molecules at ``positions``."""
        self.positions.append(positions)
        self.parts.append(values.double())

    def read(self) -> Tensor:
        """All values (n,), on the processor."""
        result = torch.empty(self.count, dtype=torch.float64)
        if self.parts:
            result[torch.as_tensor(np.concatenate(self.positions))] = torch.cat(self.parts).cpu()
        return result


class Problem:
    """Gradients and curvature products of ``model`` on ``train`` (which defines the curvature).

    ``train`` may be a sample of the training set; products average over it. ``batch_size`` bounds memory only.
    """

    def __init__(self, model: Regressor, train: Molecules, pad_id: int, seed: int, batch_size: int = 32):
        self.model = model.eval()
        self.train = train
        self.pad_id = pad_id
        self.seed = seed
        self.batch_size = batch_size
        self.parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        self.constants = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
        self.constants |= dict(model.named_buffers())
        first = next(iter(self.parameters.values()))
        self.dtype, self.device = first.dtype, first.device
        self.size = sum(p.numel() for p in self.parameters.values())

    # -- vectors ---------------------------------------------------------------------------------------------------

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector (parameters,) in the shapes of the parameters."""
        parts = vector.split([p.numel() for p in self.parameters.values()])
        return {name: part.view_as(p) for (name, p), part in zip(self.parameters.items(), parts, strict=True)}

    def batches(self, molecules: Molecules) -> Iterator[tuple[np.ndarray, Tensor, Tensor, Tensor]]:
        """Positions (batch,), token ids and mask (batch, longest), and labels (batch,), shortest molecules first."""
        for positions in by_length(molecules.ids, self.batch_size):
            tokens, mask = padded([molecules.ids[i] for i in positions], self.pad_id, self.device)
            labels = sent(torch.as_tensor(molecules.labels[positions], dtype=self.dtype), self.device)
            yield positions, tokens, mask, labels

    def _outputs(self, parameters: dict[str, Tensor], tokens: Tensor, mask: Tensor) -> Tensor:
        return functional_call(self.model, {**self.constants, **parameters}, (tokens, mask))

    def _leaves(self) -> dict[str, Tensor]:
        return {name: p.detach().requires_grad_(True) for name, p in self.parameters.items()}

    def _derivative(self, tangents: dict[str, Tensor], tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (batch,) and their derivatives (batch,) along ``tangents``, by forward mode."""
        outputs, along, *_ = jvp(
            lambda parameters: self._outputs(parameters, tokens, mask), (self.parameters,), (tangents,)
        )
        return outputs, along

    @staticmethod
    def _flat(gradients: Sequence[Tensor]) -> Tensor:
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    # -- products --------------------------------------------------------------------------------------------------

    def gradient(self, molecules: Molecules) -> Tensor:
        """Gradient (parameters,) of the mean loss over ``molecules``."""
        total = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        for _, tokens, mask, labels in self.batches(molecules):
            leaves = self._leaves()
            loss = ((self._outputs(leaves, tokens, mask) - labels) ** 2).sum()
            total += self._flat(torch.autograd.grad(loss, list(leaves.values())))
        total /= len(molecules)
        check_finite(total, "the gradient of the loss")
        return total

    def hessian_product(self, vector: Tensor, molecules: Molecules) -> Tensor:
        """Hessian of the mean loss over ``molecules``, times ``vector``; by double backward (Pearlmutter 1994)."""
        total = torch.zeros_like(vector)
        direction = list(self.unflatten(vector).values())
        for _, tokens, mask, labels in self.batches(molecules):
            leaves = self._leaves()
            variables = list(leaves.values())
            loss = ((self._outputs(leaves, tokens, mask) - labels) ** 2).sum()
            gradients = torch.autograd.grad(loss, variables, create_graph=True)
            none = torch.zeros((), dtype=self.dtype, device=self.device)
            inner = sum(((g * d).sum() for g, d in zip(gradients, direction, strict=True)), start=none)
            # A parameter whose gradient depends on no parameter has a zero row here, for which torch returns None.
            products = torch.autograd.grad(inner, variables, allow_unused=True)
            total += self._flat(
                [torch.zeros_like(v) if p is None else p for p, v in zip(products, variables, strict=True)]
            )
        return total / len(molecules)

    def gauss_newton_product(self, vector: Tensor, molecules: Molecules | None = None) -> Tensor:
        """G ``vector`` with G = (2 / n) J^T J, J the derivatives of the outputs on ``molecules`` (default: train)."""
        molecules = self.train if molecules is None else molecules
        total = torch.zeros_like(vector)
        tangents = self.unflatten(vector)
        for _, tokens, mask, _labels in self.batches(molecules):
            _, along = self._derivative(tangents, tokens, mask)
            leaves = self._leaves()
            outputs = self._outputs(leaves, tokens, mask)
            total += self._flat(torch.autograd.grad(outputs, list(leaves.values()), grad_outputs=along.detach()))
        return total * (2 / len(molecules))

    def combination(self, molecules: Molecules, weights: Tensor) -> Tensor:
        """J^T ``weights`` (parameters,): the outputs' gradients on ``molecules``, summed with ``weights`` (n,)."""
        total = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        for positions, tokens, mask, _ in progress(self.batches(molecules), "weighted gradients", total=None):
            leaves = self._leaves()
            outputs = self._outputs(leaves, tokens, mask)
            chosen = weights[sent(torch.as_tensor(positions), weights.device)].to(self.device, self.dtype)
            total += self._flat(torch.autograd.grad(outputs, list(leaves.values()), grad_outputs=chosen))
        return total

    def derivatives(self, vector: Tensor, molecules: Molecules) -> Tensor:
        """J ``vector`` (n,) in float64: the outputs' derivatives along ``vector``, by forward mode."""
        result = _Scattered(len(molecules))
        tangents = self.unflatten(vector)
        for positions, tokens, mask, _ in progress(self.batches(molecules), "derivatives", total=None):
            with torch.no_grad():
                _, along = self._derivative(tangents, tokens, mask)
            result.add(positions, along)
        return result.read()

    def loss_change(self, vector: Tensor, molecules: Molecules) -> np.ndarray:
        """grad L(z)^T ``vector`` for each molecule z (n,), by one directional derivative per batch."""
        result = _Scattered(len(molecules))
        tangents = self.unflatten(vector)
        batches = progress(self.batches(molecules), "scores", total=-(-len(molecules) // self.batch_size))
        for positions, tokens, mask, labels in batches:
            with torch.no_grad():
                outputs, along = self._derivative(tangents, tokens, mask)
            result.add(positions, 2 * (outputs - labels) * along)
        return result.read().numpy()

    def pool_loss_change(self, vector: Tensor, pool: Molecules) -> np.ndarray:
        """As :meth:`loss_change`, in the way that is cheaper for so many molecules."""
        return (self.loss_change_by_differences if len(pool) >= LARGE_POOL else self.loss_change)(vector, pool)

    def loss_change_by_differences(self, vector: Tensor, molecules: Molecules, checked: int = 64) -> np.ndarray:
        """As :meth:`loss_change`, by central differences: two plain inferences; forward mode costs more than three.

        The step is the one that agrees best with forward mode on a few molecules. Where none agrees within
        ``DIFFERENCE_ERROR``, forward mode scores all.
        """
        sample = molecules.take(np.sort(np.random.default_rng(self.seed).permutation(len(molecules))[:checked]))
        exact = self.loss_change(vector, sample)
        weights = torch.cat([p.reshape(-1) for p in self.parameters.values()])
        unit = float(weights.norm() / vector.norm()) if float(vector.norm()) > 0 else 1.0
        errors = {}
        for step in (unit * 10.0**power for power in (-5, -4.5, -4, -3.5, -3, -2.5, -2)):
            found = self._central_difference(weights, vector, sample, step)
            errors[step] = float(np.linalg.norm(found - exact) / max(np.linalg.norm(exact), np.finfo(float).tiny))
        best = min(errors, key=lambda step: errors[step])
        log.info("central differences: relative error %.1e on %d molecules", errors[best], len(sample))
        if not errors[best] <= DIFFERENCE_ERROR:
            return self.loss_change(vector, molecules)
        return self._central_difference(weights, vector, molecules, best)

    def _central_difference(self, weights: Tensor, vector: Tensor, molecules: Molecules, step: float) -> np.ndarray:
        """grad L(z)^T ``vector`` (n,) from the outputs at ``weights`` plus and minus ``step`` times ``vector``."""
        sides = [self.unflatten(weights + sign * step * vector) for sign in (1, -1)]
        result = _Scattered(len(molecules))
        batches = progress(self.batches(molecules), "scores", total=-(-len(molecules) // self.batch_size))
        for positions, tokens, mask, labels in batches:
            with torch.no_grad():
                up, down = (self._outputs(side, tokens, mask).double() for side in sides)
            result.add(positions, (up - down) * ((up + down) / 2 - labels) / step)
        return result.read().numpy()

    # -- diagnostics -----------------------------------------------------------------------------------------------

    def largest_eigenvalue(self, start: Tensor, iterations: int = 5, molecules: int = 24) -> float:
        """Largest eigenvalue of G on a sample, by power iteration from ``start``.

        It is a lower bound that rises with the iterations.
        """
        sample, vector, value = self.sample(molecules), start / start.norm(), 0.0
        for _ in range(iterations):
            product = self.gauss_newton_product(vector, sample)
            value = float(vector @ product)
            if not (norm := float(product.norm())) > 0:
                return 0.0
            vector = product / norm
        return value

    def batch_eigenvalues(
        self, start: Tensor, batch_size: int, batches: int = 4, steps: int = 8
    ) -> tuple[float, float]:
        """Smallest and largest Hessian eigenvalue over a few batches of LiSSA's size, neither inside zero.

        From ``steps`` steps of Lanczos's method a batch (Golub and Van Loan 2013, 10.1): each end moved outwards by
        the bound on its error, since Ritz values lie inside the spectrum.
        """
        generator = np.random.default_rng(self.seed)
        size = min(batch_size, len(self.train))
        ends = [0.0]
        for _ in range(batches):
            sample = self.train.take(generator.choice(len(self.train), size, replace=False))
            ends += self._ends(start, sample, steps)
        return min(ends), max(ends)

    def _ends(self, start: Tensor, molecules: Molecules, steps: int) -> tuple[float, float]:
        """Both ends of the Hessian's spectrum on ``molecules``, as far as Lanczos's method sees it from ``start``."""
        before, vector = torch.zeros_like(start), start / start.norm()
        diagonal: list[float] = []
        beside: list[float] = [0.0]  # beside[k] couples the vectors k - 1 and k
        for _ in range(steps):
            product = self.hessian_product(vector, molecules) - beside[-1] * before
            check_finite(product, "a Hessian product")
            diagonal.append(float(vector.double() @ product.double()))
            product -= diagonal[-1] * vector
            beside.append(float(product.norm()))
            if not beside[-1] > 1e-6 * max(map(abs, diagonal)):  # an invariant subspace: nothing is left to find
                break
            before, vector = vector, product / beside[-1]
        inner = beside[1 : len(diagonal)]
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(inner, 1) + np.diag(inner, -1))
        errors = beside[-1] * np.abs(vectors[-1])
        return float(values[0] - errors[0]), float(values[-1] + errors[-1])

    def relative_residual(self, x: Tensor, damping: float, vector: Tensor, curvature: str) -> float:
        """|(C + ``damping``) x - v| / |v| on all of ``train``; C is the ``hessian`` or the ``gauss_newton`` matrix."""
        product = self.hessian_product(x, self.train) if curvature == "hessian" else self.gauss_newton_product(x)
        return float((product + damping * x - vector).norm() / vector.norm())

    def sample(self, count: int) -> Molecules:
        """At most ``count`` training molecules, a random sample by the problem's seed."""
        if count >= len(self.train):
            return self.train
        return self.train.take(np.random.default_rng(self.seed).choice(len(self.train), count, replace=False))

"""A training as a function of its molecules' weights, and the derivative of its outcome with respect to them.

What is replayed is the quiet continuation of a fitted regressor: full fine-tuning without noise, in which each squared
error has its molecule's weight, batches are divided by the weights in them, and labels are standardised by the weighted
mean and deviation. At weights of one and zero that is the training on the molecules of weight one, to the bit; so the
derivative at weights between says what leaving molecules in or out does to the loss after training, to first order in
the weights and to all orders in everything else. It is computed in reverse (Engstrom et al. 2025, 2503.13751): from
the last step to the first, each through AdamW, gradient clipping, decay and the learning rate of that step, with one
Hessian product per step. The states of the training are kept at intervals, and those in between made again.

Where training multiplies in bfloat16, so does the training that is replayed; what is differentiated are its steps in
float32, at the states that it went through.

AdamW is differentiated as it is computed, epsilon outside the root. Where a second moment is zero, because a parameter
has had no gradient yet, the root has no derivative, and none is taken: neither does that parameter's gradient depend on
anything.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import get_scheduler

from chemsieve.errors import ChemsieveError
from chemsieve.influence.problem import check_finite
from chemsieve.models.kernel_head import KernelHead
from chemsieve.models.regressor import disable_noise
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.batches import by_length, padded, sent
from chemsieve.training.layers import decayed_names, groups
from chemsieve.training.loop import low_precision

if TYPE_CHECKING:
    from chemsieve.influence.problem import Molecules
    from chemsieve.models.regressor import Regressor
    from chemsieve.training.epochs import Settings

log = logging.getLogger(__name__)

Batches = Sequence[Sequence[int]]
EVALUATED = 64  # molecules whose final loss is differentiated at a time


@dataclass
class State:
    """A training between two steps: flat vectors over the trained parameters.

    Attributes:
        weights: the parameters.
        first, second: AdamW's moments.
        average: of the weights, where one is kept.
    """

    weights: Tensor
    first: Tensor
    second: Tensor
    average: Tensor | None

    def zeros(self) -> State:
        """Zeros of the same shapes."""
        return State(*(None if one is None else torch.zeros_like(one) for one in self.parts()))  # type: ignore[arg-type]

    def parts(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass
class Adjoint:
    """How the outcome depends on what a training has done so far: derivatives with respect to it.

    Attributes:
        step: number of steps before the place that this is of.
        state: with respect to the state there.
        sample_weights: with respect to the molecules' weights (n,), as far as later steps depend on them directly.
        labels: with respect to the standardised labels (n,), likewise.
        mean, scale: with respect to what labels are standardised by, where the outcome is put in label units.
    """

    step: int
    state: State
    sample_weights: Tensor
    labels: Tensor
    mean: float
    scale: float


class Replay:
    """A quiet continuation of ``model`` on ``molecules``, whose loss on ``query`` is asked about at its end.

    The model is changed: noise is off from here on, and it holds the weights of whatever step was made last.

    Args:
        model: the regressor that is continued, as it stands.
        molecules: all that have a weight, with labels in the label's own units, as ``query`` has them.
        settings: of the training; its early stopping and its choice of the best epoch are left out.

    Raises:
        ChemsieveError: the regressor's head is not trained by gradients.
    """

    def __init__(
        self,
        model: Regressor,
        molecules: Molecules,
        query: Molecules,
        pad_id: int,
        settings: Settings,
    ):
        if isinstance(model.head_inputs, KernelHead):
            raise ChemsieveError(
                "influence.estimators.metagradient: a head that is a kernel regression is solved for, not trained, and "
                "training it cannot be replayed; use exact, or set finetune.head.kernel to false"
            )
        disable_noise(model)
        self.model, self.molecules, self.query, self.pad_id = model, molecules, query, pad_id
        self.settings = settings
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.names, self.parameters = list(trained), list(trained.values())
        self.device, self.dtype = self.parameters[0].device, self.parameters[0].dtype
        self.sizes = [p.numel() for p in self.parameters]
        self.begun = self._flat([p.detach() for p in self.parameters])
        self.mean, self.scale = float(model.label_mean), float(model.label_scale)
        self.bfloat16 = low_precision(settings.precision, self.device) and self.dtype == torch.float32
        self.optimizer = self._optimizer()
        self.group_of = {
            id(p): number for number, group in enumerate(self.optimizer.param_groups) for p in group["params"]
        }

    # -- the training ----------------------------------------------------------------------------------------------

    def loss(self, weights: np.ndarray, batches: Batches) -> float:
        """Query loss after training, in the units of the labels as they were standardised before it.

        Args:
            weights: of the molecules (n,), 0 to 1.
            batches: positions of the molecules of each step.
        """
        begun = self._begin(weights, batches)
        self._finish(self._run(begun, 0, len(batches), torch.as_tensor(weights)))
        return self._outcome()[0]

    def _optimizer(self) -> torch.optim.AdamW:
        """The optimiser of fine-tuning, before its first step."""
        settings = self.settings
        decayed = decayed_names(self.model)
        grouped = groups(self.model, decayed, settings.learning_rate, settings.weight_decay, settings.layer_decay)
        return torch.optim.AdamW(grouped, lr=settings.learning_rate, fused=True)

    def _begin(self, weights: np.ndarray, batches: Batches) -> State:
        """The state before the first step of a training, and its batches and learning rates."""
        self._standardise(weights)
        self.batches = [np.asarray(batch) for batch in batches]
        idle = self._optimizer()
        schedule = get_scheduler(self.settings.schedule, idle, round(self.settings.warmup * len(batches)), len(batches))
        self.rates = []
        for _ in batches:
            self.rates.append([group["lr"] for group in idle.param_groups])
            idle.step()  # without gradients: nothing moves
            schedule.step()
        parameters = self._flat([p.detach() for p in self.parameters])
        average = None if self.settings.average is None else parameters.clone()
        return State(parameters, torch.zeros_like(parameters), torch.zeros_like(parameters), average)

    def _standardise(self, weights: np.ndarray) -> None:
        """Set the model back to where training begins, with labels standardised by the weighted molecules."""
        labels = self.molecules.labels
        taken = weights > 0
        if not taken.any():
            raise ValueError("no molecule has a weight")
        if np.ptp(weights[taken]) == 0:  # as training computes it
            mean, scale = float(np.mean(labels[taken])), float(np.std(labels[taken]))
        else:
            mean = float(np.average(labels, weights=weights))
            scale = float(np.sqrt(np.average((labels - mean) ** 2, weights=weights)))
        if not scale > 0:
            raise ChemsieveError("all training labels are the same: there is nothing to learn")
        self._put(self.begun)
        self.model.set_label_scale(self.mean, self.scale)
        self.model.change_label_scale(mean, scale)
        self.new_mean, self.new_scale = mean, scale
        # Rounded as the batches of training are.
        self.standardised = torch.as_tensor((labels - mean) / scale, device=self.device).to(self.dtype)

    def _run(
        self,
        state: State,
        start: int,
        stop: int,
        weights: Tensor,
        before: Callable[[int, State], None] | None = None,
        each: Callable[[], object] = lambda: None,
    ) -> State:
        """Train from ``state``, before the step ``start``, up to the step ``stop``.

        ``before`` is told the number of each step and the state before it, which is its to keep; ``each`` is called
        after every step.
        """
        self._put(state.weights)
        self.model.train()
        optimizer = self.optimizer
        optimizer.state.clear()
        parts = zip(self.parameters, *(self._split(one) for one in (state.first, state.second)), strict=True)
        for parameter, first, second in parts:
            made = torch.tensor(float(start), device=self.device)
            optimizer.state[parameter] = {"step": made, "exp_avg": first.clone(), "exp_avg_sq": second.clone()}
        average = None
        if self.settings.average is not None and state.average is not None:
            average = WeightAverage(self.model, self.settings.average)
            average.steps, average.averages = start, [part.clone() for part in self._split(state.average)]
        for step in range(start, stop):
            if before is not None:
                before(step, state if step == start else self._state(average))
            batch = self.batches[step]
            batch = batch[weights[batch].numpy() > 0]  # what weighs nothing is not there
            tokens, mask, given, labels = self._batch(batch, weights)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                predicted = self.model(tokens, mask)
            weighted_error(predicted.to(labels.dtype), labels, given).backward()
            nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
            for group, rate in zip(optimizer.param_groups, self.rates[step], strict=True):
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update()
            each()
        self.model.eval()
        return self._state(average)

    def _state(self, average: WeightAverage | None) -> State:
        moments = [self.optimizer.state[p] for p in self.parameters]
        return State(
            self._flat([p.detach() for p in self.parameters]),
            self._flat([one["exp_avg"] for one in moments]),
            self._flat([one["exp_avg_sq"] for one in moments]),
            None if average is None else self._flat(average.averages),
        )

    def _batch(self, positions: np.ndarray, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens and mask (batch, longest), weights and standardised labels (batch,)."""
        tokens, mask = padded([self.molecules.ids[i] for i in positions], self.pad_id, self.device)
        chosen = torch.as_tensor(positions)
        given = sent(weights[chosen].to(self.dtype), self.device)
        return tokens, mask, given, self.standardised[sent(chosen, self.device)]

    @staticmethod
    def passes(steps: int, every: int | None) -> int:
        """How often ``each`` of :meth:`gradient` is called, on the way there and back."""
        every = every or math.isqrt(steps)
        return 2 * steps + (steps - 1) // every * every

    # -- its derivative --------------------------------------------------------------------------------------------

    def gradient(
        self,
        weights: np.ndarray,
        batches: Batches,
        every: int | None = None,
        resumed: Adjoint | None = None,
        save: Callable[[Adjoint], None] = lambda adjoint: None,
        each: Callable[[], object] = lambda: None,
    ) -> np.ndarray:
        """Derivative of :meth:`loss` with respect to each weight (n,), float64.

        Args:
            every: steps between two states that are kept; None: so that as many are kept as lie between two.
            resumed: where to go on, as ``save`` was handed it.
            save: may write what it is handed after each step.
            each: is called after each step, of the training and of the way back.

        Raises:
            InfluenceDivergence: a number is not finite.
        """
        every = every or math.isqrt(len(batches))
        given = torch.as_tensor(weights, dtype=torch.float64)
        end = len(batches) if resumed is None else resumed.step
        starts = list(range(0, end, every)) or [0]
        kept: dict[int, State] = {0: self._begin(weights, batches)}
        for start, stop in itertools.pairwise(starts):
            kept[stop] = self._run(kept[start], start, stop, given, each=each)
        stretch = self._stretch(kept.pop(starts[-1]), starts[-1], end, given, each)
        adjoint = self._last(stretch[-1]) if resumed is None else resumed
        for start in reversed(starts):
            if start != starts[-1]:
                stretch = self._stretch(kept.pop(start), start, adjoint.step, given, each)
            while len(stretch) > 1:
                after = stretch.pop()
                self._back(adjoint, stretch[-1], after, given)
                check_finite(adjoint.state.weights, f"the derivative at step {adjoint.step} of the replayed training")
                each()
                save(adjoint)
        found = self._through_the_scale(adjoint, weights)
        check_finite(torch.as_tensor(found), "the derivative of the replayed training")
        return found

    def _stretch(self, state: State, start: int, stop: int, weights: Tensor, each: Callable[[], object]) -> list[State]:
        """The states from the step ``start`` to the step ``stop``, both included."""
        states: list[State] = []
        last = self._run(state, start, stop, weights, lambda _, before: states.append(before), each)
        return [*states, last]

    def _finish(self, state: State) -> None:
        """Put into the model what is validated at the end."""
        self._put(state.weights if state.average is None else state.average)
        self.model.eval()

    def _outcome(self) -> tuple[float, list[Tensor], float, float]:
        """The loss, and its derivatives with respect to the model's weights and what labels are standardised by."""
        sums = []
        gradients = [torch.zeros_like(p) for p in self.parameters]
        count = len(self.query)
        for positions in by_length(self.query.ids, EVALUATED):
            tokens, mask = padded([self.query.ids[i] for i in positions], self.pad_id, self.device)
            wanted = sent(torch.as_tensor(self.query.labels[positions], dtype=torch.float64), self.device)
            outputs = self.model(tokens, mask)
            errors = (outputs.double() * self.new_scale + self.new_mean - wanted) / self.scale
            found = torch.autograd.grad((errors**2).sum() / count, self.parameters, allow_unused=True)
            for gradient, part in zip(gradients, found, strict=True):
                if part is not None:
                    gradient += part
            errors = errors.detach()
            along = (errors * outputs.detach().double()).sum()
            sums.append(torch.stack([(errors**2).sum(), 2 * errors.sum(), 2 * along]))
        total, mean, scale = 0.0, 0.0, 0.0
        for squares, by_mean, by_scale in torch.stack(sums).tolist():
            total += squares / count
            mean += by_mean / count / self.scale
            scale += by_scale / count / self.scale
        return total, gradients, mean, scale

    def _last(self, state: State) -> Adjoint:
        """The adjoint after the last step."""
        self._finish(state)
        loss, gradients, mean, scale = self._outcome()
        log.info("replayed %d steps: query loss %.4f", len(self.batches), loss)
        adjoint = state.zeros()
        if adjoint.average is None:
            adjoint.weights = self._flat(gradients)
        else:
            adjoint.average = self._flat(gradients)
        none = torch.zeros(len(self.molecules), dtype=torch.float64)
        return Adjoint(len(self.batches), adjoint, none, none.clone(), mean, scale)

    def _back(self, adjoint: Adjoint, before: State, after: State, weights: Tensor) -> None:
        """Carry the adjoint over one step, from ``after`` it to ``before`` it."""
        step = adjoint.step - 1
        batch = self.batches[step]
        tokens, mask, given, labels = self._batch(batch, weights)
        given, labels = given.requires_grad_(True), labels.requires_grad_(True)
        leaves = [part.detach().requires_grad_(True) for part in self._split(before.weights)]
        self.model.eval()  # there attention has a second derivative
        outputs = functional_call(self.model, dict(zip(self.names, leaves, strict=True)), (tokens, mask))
        gradients = torch.autograd.grad(
            weighted_error(outputs, labels, given), leaves, create_graph=True, allow_unused=True
        )
        towards = self._through_the_optimiser(adjoint.state, after, step, gradients)
        both = [(g, t) for g, t in zip(gradients, towards, strict=True) if g is not None and t is not None]
        inner = torch.stack([(gradient * towards_it).sum() for gradient, towards_it in both]).sum()
        products = torch.autograd.grad(inner, [*leaves, given, labels], allow_unused=True)
        for part, product in zip(self._split(adjoint.state.weights), products[:-2], strict=True):
            if product is not None:
                part += product
        positions = torch.as_tensor(batch)
        for total, product in zip((adjoint.sample_weights, adjoint.labels), products[-2:], strict=True):
            if product is not None:
                total[positions] += product.double().cpu()
        adjoint.step = step

    def _through_the_optimiser(
        self, adjoint: State, after: State, step: int, gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Carry ``adjoint`` over one step of clipping, AdamW and averaging, but for what runs through the gradient.

        Returns:
            The adjoint of the gradient, a tensor for each parameter.
        """
        settings = self.settings
        if adjoint.average is not None and settings.average is not None:
            share = 1 - min(settings.average, (step + 1) / (step + 1 + 9))
            adjoint.weights += share * adjoint.average
            adjoint.average *= 1 - share
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(g.detach()) for g in gradients if g is not None])
        )
        # Read together: each look waits for a GPU.
        most, above, length = torch.stack([settings.gradient_clip / (norm + 1e-6), norm + 1e-6, norm]).tolist()
        clip = min(most, 1.0)
        towards: list[Tensor | None] = []
        moments = (after.first, after.second, adjoint.weights, adjoint.first, adjoint.second)
        for parameter, gradient, first, second, of_weights, of_first, of_second in zip(
            self.parameters, gradients, *(self._split(one) for one in moments), strict=True
        ):
            if gradient is None:  # the optimiser passes over it
                towards.append(None)
                continue
            group = self.group_of[id(parameter)]
            options, rate = self.optimizer.param_groups[group], self.rates[step][group]
            (one, two), epsilon = options["betas"], options["eps"]
            rate_first, root = rate / (1 - one ** (step + 1)), second.sqrt()
            correction = math.sqrt(1 - two ** (step + 1))
            below = root / correction + epsilon
            of_first -= rate_first * of_weights / below
            slope = rate_first * of_weights * first / below**2 / (2 * root * correction)
            of_second += torch.where(root > 0, slope, 0.0)
            towards.append((1 - one) * of_first + 2 * (1 - two) * of_second * (clip * gradient.detach()))
            of_first *= one
            of_second *= two
            of_weights *= 1 - rate * options["weight_decay"]
        if clip == 1.0:
            return towards
        both = [(g.detach(), t) for g, t in zip(gradients, towards, strict=True) if g is not None and t is not None]
        along = sum(torch.stack([(g.double() * t.double()).sum() for g, t in both]).tolist())
        # clip is c / (norm + 1e-6), and the norm itself moves with the gradient.
        shrink = along * clip / above / length
        return [
            None if g is None or t is None else clip * t - shrink * g.detach()
            for g, t in zip(gradients, towards, strict=True)
        ]

    def _through_the_scale(self, adjoint: Adjoint, weights: np.ndarray) -> np.ndarray:
        """What the weights do, with their effect on mean and deviation, which labels and head are standardised by."""
        scale, labels = self.new_scale, self.molecules.labels
        of_labels = adjoint.labels.numpy()
        mean_adjoint = adjoint.mean - of_labels.sum() / scale
        scale_adjoint = adjoint.scale - float(of_labels @ ((labels - self.new_mean) / scale)) / scale
        of_begun = adjoint.state.weights
        if adjoint.state.average is not None:  # it begins as a copy of the weights
            of_begun = of_begun + adjoint.state.average
        at_start = dict(zip(self.names, self._split(of_begun), strict=True))
        begun = dict(zip(self.names, self._split(self.begun), strict=True))
        for name in ("head.weight", "head.bias"):
            if name in at_start:
                now = begun[name].double() * self.scale / scale
                if name == "head.bias":
                    now = now + (self.mean - self.new_mean) / scale
                    mean_adjoint -= float(at_start[name].double().sum()) / scale
                scale_adjoint -= float((at_start[name].double() * now).sum()) / scale
        far = labels - self.new_mean
        total = weights.sum()
        by_mean, by_scale = far / total, (far**2 - scale**2) / (2 * scale * total)
        return adjoint.sample_weights.numpy() + mean_adjoint * by_mean + scale_adjoint * by_scale

    # -- flat vectors ----------------------------------------------------------------------------------------------

    @staticmethod
    def _flat(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

    def _split(self, vector: Tensor) -> list[Tensor]:
        """Views of a flat vector in the shapes of the parameters."""
        return [part.view_as(p) for p, part in zip(self.parameters, vector.split(self.sizes), strict=True)]

    @torch.no_grad()
    def _put(self, vector: Tensor) -> None:
        for parameter, part in zip(self.parameters, self._split(vector), strict=True):
            parameter.copy_(part)


def weighted_error(predicted: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of squared errors (batch,); with equal weights the mean of training, to the bit."""
    return (weights * (predicted - labels) ** 2).sum() / weights.sum()

"""The terms of the page: each is explained where it first stands in a section, and in the glossary at the end."""

import re
from contextvars import ContextVar

from markupsafe import Markup, escape

# A term as it stands in texts, and what it means. Longer terms are found before those that they contain.
TERMS = {
    "RMSE": "Root mean squared error, in the unit of the label: the typical size of a prediction's error. Lower is "
    "better.",
    "MAE": "Mean absolute error, in the unit of the label.",
    "R2": "Coefficient of determination: 1 is a perfect prediction, 0 is no better than the mean label.",
    "Spearman": "Rank correlation, from -1 to 1: 1 is the same order, 0 is none in common.",
    "AUROC": "Probability that of two molecules, one of each kind, the right one is ranked first: 1 is perfect, 0.5 is "
    "chance.",
    "Tanimoto similarity": "Share of substructures that two molecules have in common, by their fingerprints: 1 is the "
    "same fingerprint, 0 is nothing in common.",
    "ECFP4": "Morgan fingerprint of radius 2: which atoms and surroundings of up to two bonds a molecule has.",
    "Morgan fingerprint": "Which atoms and surroundings of atoms a molecule has, as a row of bits.",
    "scaffold split": "Molecules with the same ring system (Bemis-Murcko scaffold) stay together, so that the model is "
    "tested on ring systems that it was not trained on.",
    "random split": "Molecules are divided by chance, so that near relatives of test molecules are often trained on: "
    "easier, and flattering.",
    "draws split": "Each split trains on other molecules of the target and all share one set of test molecules.",
    "butina split": "Clusters of similar molecules stay together.",
    "maxmin split": "The most diverse molecules are tested on.",
    "fingerprint split": "The test molecules are as unlike the training molecules as can be.",
    "weight split": "The model is trained on light molecules and tested on heavy ones.",
    "cross_validation split": "Each molecule is tested once in each round.",
    "replicate": "One training of an arm: one splitter, split seed and training seed.",
    "replicates": "Trainings of the same arm: each has a splitter, a split seed and a training seed.",
    "units": "What the noise is measured between: splits, or the training seeds of one split.",
    "margin": "The smallest difference of the error that matters to you (statistics.margin).",
    "descriptor model": "A classical regression on computed descriptors or fingerprints, without a language model.",
    "descriptor models": "Classical regressions on computed descriptors or fingerprints, without a language model.",
    "uncertainty": "A strategy: the molecules on which the model with dropout switched on disagrees most with itself.",
    "disagreement": "A strategy against wrong labels: how far a label lies from what a simple model predicts of it "
    "that has not seen it. Molecules whose labels agree come first.",
    "residual": "A strategy against wrong labels: how far a label lies from the prediction of a model that has not "
    "seen the pool. Molecules whose labels fit come first.",
    "self_influence": "A strategy against wrong labels: how much a molecule lowers its own error when it is trained "
    "on. Wrong labels are learned by heart, so that they have much of it.",
    "influence": "A strategy: the molecules that are expected to lower the validation loss most when they are added, "
    "computed from gradients.",
    "influence_bottom": "A control: the molecules that influence ranks last. If they train as well as its first, the "
    "ranking carries nothing.",
    "diversity": "A strategy: each next molecule is the one least similar to those already chosen.",
    "v_optimal": "A strategy without labels: the molecules whose measurement would make predictions of the target's "
    "own molecules surest.",
    "d_optimal": "A strategy without labels: the molecules that the model is least sure of, given those chosen.",
    "target_alignment": "A strategy: the molecules that are most like the training molecules to the fine-tuned model.",
    "gradient_matching": "A strategy: the molecules whose gradients point where those of the validation molecules do.",
    "expected gain": "How much the validation loss is expected to fall when a molecule gains weight: positive helps.",
    "Gram matrix": "All products of the molecules' gradients with each other: how far training on one molecule changes "
    "what is predicted of another. Scores that know of redundant molecules need all of it in memory.",
    "Gauss-Newton matrix": "How steeply the training loss rises when the weights are moved, approximated from "
    "gradients: what a molecule's gradient is divided by to see how far it moves the trained model.",
    "relative residual": "How far an equation that was solved by steps is from being solved: 0 is exactly.",
    "damping": "What is added to the curvature of the loss so that it can be divided by: the larger, the more cautious "
    "the scores.",
    "LiSSA": "A way to divide by the curvature of the loss in many small steps, each on a sample of molecules.",
    "bitfit": "Fine-tuning of the biases alone.",
    "lora": "Fine-tuning by small low-rank matrices beside the frozen weights.",
    "ia3": "Fine-tuning of scaling vectors alone.",
    "masked": "Masked-language modelling: parts of a SMILES are hidden, and the encoder learns to fill them in.",
    "datamodelling score": "Rank correlation between the gains that a score predicts for random subsets of the "
    "pool and those that retraining with them gave: 1 is a perfect forecast, 0 is none.",
}
ANCHOR = "term-"
# Words that mean something else in other sentences: explained only where they stand alone, in a cell or as a name.
_ALONE = {"units", "uncertainty", "disagreement", "residual", "influence", "diversity", "margin", "masked", "replicate"}
_WORDS = "|".join(re.escape(term) for term in sorted(set(TERMS) - _ALONE, key=len, reverse=True))
_FOUND = re.compile(rf"(?<![\w.`/]){'(' + _WORDS + ')'}(?![\w`/]|\.\w)")
_seen: ContextVar[set[str] | None] = ContextVar("seen", default=None)


def begin_section() -> None:
    """From here on each term is explained once more."""
    _seen.set(set())


def anchor(term: str) -> str:
    """Where the glossary explains a term."""
    return ANCHOR + re.sub(r"\W+", "-", term).lower()


def marked(text: str) -> Markup:
    """A text as HTML: escaped, names between backticks as code, and terms linked to the glossary where first met."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner is a backtick
        return _terms(text)
    done = [_terms(part) if i % 2 == 0 else _code(part) for i, part in enumerate(parts)]
    return Markup("").join(done)


def explained(text: str) -> Markup:
    """The text of a cell: linked to the glossary where it is a term and nothing else."""
    return _link(text) if text in TERMS else escape(text)


def _code(name: str) -> Markup:
    content = _link(name) if name in TERMS else escape(name)
    return Markup("<code>{}</code>").format(content)


def _terms(text: str) -> Markup:
    parts = _FOUND.split(text)
    return Markup("").join(_link(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _link(term: str) -> Markup:
    seen = _seen.get()
    if seen is None or term in seen:
        return escape(term)
    seen.add(term)
    return Markup('<a class="term" href="#{}" title="{}">{}</a>').format(anchor(term), TERMS[term], term)

"""Section on how the molecules that a strategy selects enter training."""

from chemsieve.study.sections.values import Entries, Name, Section, Several, Written, key

USES = Written("""
mixed: {}
weighted: {weight: auto} # auto, or a number: what a pool molecule counts where a target molecule counts 1
own_head: {weight: auto} # a second head, with an offset and a scale of its own, for the pool's labels
then_target: {share: 0.5} # of the epochs: with the pool; the target alone after
robust: {freedom: 4} # each pool molecule has a weight of its own, small where its label fits no other molecule
auto: {}
""")


class Use(Section):
    """How the selected molecules of the pool enter full fine-tuning (docs/use.md)."""

    run: Several[Name] = key(
        ["mixed"],
        "uses that are trained on each selection; mixed, as equals of the target's molecules, is always among them; "
        "auto is the one that the closed form prefers",
        [["mixed", "weighted", "own_head"]],
    )
    uses: Entries = key(
        USES,
        "each entry names its use where the name differs: {use: weighted, weight: 0.3}",
    )

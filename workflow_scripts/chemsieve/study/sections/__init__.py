"""The configuration as pydantic models, a section each: the one statement of its keys, types, defaults and meanings."""

from typing import Literal

from pydantic import Field

from chemsieve.study.sections.adaptation import Mlm
from chemsieve.study.sections.data import Audit, Embedded, Pool, Split, Target
from chemsieve.study.sections.encoder import Encoder, Pretrain
from chemsieve.study.sections.influence import Influence, Validation
from chemsieve.study.sections.published import Published
from chemsieve.study.sections.running import Compute, Predict, Statistics, Tracking
from chemsieve.study.sections.selection import Baselines, Grid, Selection
from chemsieve.study.sections.training import Finetune
from chemsieve.study.sections.tuning import Tuning
from chemsieve.study.sections.use import Use
from chemsieve.study.sections.values import Section, Seed, Several, StudyName, key


class Configuration(Section):
    """The embedded study: chemsieve's own molecules, offline, on a laptop.

    Every key is explained here once, where it first stands; the files in studies/ are overlays that change some of them
    (snakemake --configfile studies/lipophilicity.yaml). Unknown keys are refused.
    """

    study: StudyName = key("embedded", "results go to results/<study>/")
    target: Target = Field(default_factory=Target)
    pool: Pool = Field(default_factory=Pool)
    audit: Audit = Field(default_factory=Audit)
    embedded: Embedded = Field(default_factory=Embedded)
    split: Split = Field(default_factory=Split)
    seeds: Several[Seed] = key([0], "training seeds; one replicate each")
    encoder: Encoder = Field(default_factory=Encoder)
    pretrain: Pretrain = Field(default_factory=Pretrain)
    mlm: Mlm = Field(default_factory=Mlm)
    finetune: Finetune = Field(default_factory=Finetune)
    influence: Influence = Field(default_factory=Influence)
    validation: Validation = Field(default_factory=Validation)
    selection: Selection = Field(default_factory=Selection)
    use: Use = Field(default_factory=Use)
    grid: Grid = Field(default_factory=Grid)
    tuning: Tuning = Field(default_factory=Tuning)
    baselines: Baselines = Field(default_factory=Baselines)
    published: Published | None = key(
        None, "figures of a published protocol, for a section of the report that prints them beside this study's own"
    )
    predict: Predict = Field(default_factory=Predict)
    statistics: Statistics = Field(default_factory=Statistics)
    on_failure: Literal["continue", "stop"] = key(
        "continue",
        "where an optional part fails (a descriptor model, a strategy, an estimator that no selection uses, a cell of "
        "the grid, a figure), go on, and say on the report's first screen what is missing; or stop, which also tries "
        "again what failed before",
    )
    tracking: Tracking = Field(default_factory=Tracking)
    compute: Compute = Field(default_factory=Compute)

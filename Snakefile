# chemsieve: which molecules to add, and how to fine-tune on them, with evidence.
# The stages are in rules/, in the order of the flow; each rule's script has its name in workflow_scripts/.
import os

from snakemake.utils import min_version

min_version("9.27")


# Beside this file, wherever it is called from; a config.yaml of the working directory's own is an overlay.
configfile: f"{workflow.basedir}/config.yaml"


if os.path.exists("config.yaml") and not os.path.samefile("config.yaml", f"{workflow.basedir}/config.yaml"):

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/session.smk"
include: "rules/data.smk"
include: "rules/split.smk"
include: "rules/audit.smk"
include: "rules/encoder.smk"
include: "rules/pretrain.smk"
include: "rules/baselines.smk"
include: "rules/finetune.smk"
include: "rules/influence.smk"
include: "rules/selection.smk"
include: "rules/use.smk"
include: "rules/validation.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/predict.smk"


# On a cluster these run where Snakemake does: they write a page of text, or need the network.
localrules:
    all,
    effective_config,
    download_target,
    encoder,


onstart:
    check_interpreter()
    check_results()
    check_sizes()
    take_results()
    share_gpus()
    look_on_events()
    start_warm_server()


onsuccess:
    stop_warm_server()
    give_up_results()
    say_what_is_missing()


onerror:
    stop_warm_server()
    give_up_results()


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/config.yaml",
        PLAN.table_files,
        PLAN.lists,

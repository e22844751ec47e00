# Around a run of Snakemake: what is checked before any job, the lock on the results, the warm server, what is missing.
import os
import shlex
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from chemsieve.runtime.warm import socket_folder

# What failed and can no longer be done without is tried again: without its mark it is a step that has not run.
if workflow.is_main_process:
    from chemsieve.study.optional import forget

    with one_sentence(OSError):
        for failed in forget(RESULTS, config, sys.argv[1:]):
            print(f"trying again what failed: {failed.step}", file=sys.stderr)


def say_what_is_missing():
    """Name the optional parts that this study has to do without."""
    path = Path(f"{RESULTS}/tables/failures.parquet")
    if not path.exists():
        return
    import pyarrow.parquet as pq

    failed = [row for row in pq.read_table(path).to_pylist() if not row["cause"]]
    for row in failed:
        print(f"missing: {row['rule']} {row['part']}: {row['reason']} ({row['log']})", file=sys.stderr)
    if failed:
        print("the report's first screen says what follows; --config on_failure=stop tries again", file=sys.stderr)


def check_interpreter():
    """Stop where jobs are submitted with a command that the path of Python breaks."""
    from snakemake_interface_executor_plugins.settings import SharedFSUsage

    shared = SharedFSUsage.SOFTWARE_DEPLOYMENT in workflow.storage_settings.shared_fs_usage
    if shared and not workflow.local_exec and shlex.quote(sys.executable) != sys.executable:
        raise WorkflowError(
            f"the path of Python, {sys.executable}, has characters that Snakemake does not quote where it submits jobs; "
            "make the environment in a folder without spaces in its path"
        )


def check_results():
    """Stop where results cannot be written: Snakemake would end with a traceback."""
    from chemsieve.runtime.files import check_folder

    with one_sentence():
        check_folder(RESULTS)


def check_sizes():
    """Stop before anything runs where the accepted pool is too small for a budget, or too large for an estimator.

    The step `sizes` checks the pool that it makes; this is for a pool that stands. (A rule of its own would need to be an
    `ancient` input of training, and Snakemake then overlooks changed parameters of whatever stands downstream.)
    """
    pool, molecules = Path(f"{RESULTS}/data/pool.parquet"), Path(f"{RESULTS}/tables/molecules.parquet")
    if (
        pool.exists()
        and molecules.exists()
        and not any(job.rule.name in ("data", "sizes") for job in workflow.dag.needrun_jobs())
    ):
        from pyarrow.parquet import read_metadata

        from chemsieve.study import budgets
        from chemsieve.influence.capacity import check_pool

        rows = read_metadata(pool).num_rows
        with one_sentence():
            budgets.check(budgets.of(config), rows)
            check_pool(config, read_metadata(molecules).num_rows - rows, rows)


def look_on_events():
    """Let the scheduler look for what to run when something has ended, and not every second besides.

    A second after each look at jobs that wait for cores it looks again, files and all, and after that look again: a chain
    of its own for each job that ends, so that with some hundred jobs Snakemake itself takes a core. All that is for its
    limit on jobs per second, whose default no machine reaches here; without a limit it looks when a job ends.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


# The lock on the results folder, which ends with this process however it ends (see chemsieve/runtime/locking.py).
HELD = []


def take_results():
    """Stop where another run writes the same results; remove what killed processes left half-written."""
    from chemsieve.runtime.files import remove_partial
    from chemsieve.runtime.locking import RUN, hold

    with one_sentence(OSError):
        HELD.append(hold(RESULTS))
    remove_partial(RESULTS)
    if workflow.local_exec:
        os.environ |= {RUN: str(os.getpid())}


def give_up_results():
    """Leave the results folder to the next run."""
    from chemsieve.runtime.files import remove_partial

    remove_partial(RESULTS)  # of jobs that were killed
    while HELD:
        HELD.pop().close()


def share_gpus():
    """Where jobs run on this machine and several may use GPUs at a time, each is to have one, or a place on one."""
    from chemsieve.runtime import devices

    def limit(name):
        found = workflow.global_resources.get(name)
        return 0 if found is None else found.value or 0

    if not (workflow.local_exec and gpu()) or devices.VARIABLE in os.environ:
        return
    with one_sentence():
        if limit("gpu_jobs") > 1:
            os.environ[devices.VARIABLE] = devices.spread(limit("gpu_jobs"))
        elif limit("gpu") > 1:
            os.environ[devices.VARIABLE] = devices.share(limit("gpu"))


# A server that imports the heavy libraries once for all jobs of this run (see chemsieve/runtime/warm.py).
WARM = {}


def start_warm_server():
    """Start it where jobs run on this machine and are many enough to pay for it."""
    planned = sum(step(job.rule.name).heavy for job in workflow.dag.needrun_jobs())
    if not (config["compute"]["warm_start"] and workflow.local_exec and planned > 2):
        return
    if (place := socket_folder()) is None:
        return
    WARM["folder"] = place
    address = f"{WARM['folder'].name}/socket"
    os.environ |= {"CHEMSIEVE_WARM": address}
    command = [sys.executable, str(SCRIPTS / "chemsieve" / "runtime" / "warm.py"), address, str(os.getpid())]
    WARM["server"] = subprocess.Popen(command, stdin=subprocess.DEVNULL)


def stop_warm_server():
    """End it with the run."""
    if WARM:
        WARM["server"].terminate()
        WARM["server"].wait()
        WARM["folder"].cleanup()

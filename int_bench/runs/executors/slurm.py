"""``executor=slurm``: a job array of identical tasks computes, this command merges and scores.

submitit submits and hands in again before the time limit; what is done, only the run folder says.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from int_bench.config import RunConfig, build_backbones
from int_bench.config.exactness import on_cuda
from int_bench.config.needs.hardware import cuda_devices
from int_bench.core.files import make_folder, write_whole
from int_bench.core.limits import Above, AtLeast, Count, Within
from int_bench.core.protocols import Method
from int_bench.engine.work import Sharing, Tally, work_of
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.execute import Variant, unfinished
from int_bench.runs.executors.array_task import MODELS, ORDER, ArrayOrder
from int_bench.runs.executors.arrays import Array, Submitted, collect, under_way
from int_bench.runs.executors.compute import Done, Listeners, mended_of, of_one_kind, shards_of
from int_bench.runs.executors.supervisor import Allowed, Supervisor
from int_bench.runs.executors.worker import Order, Wanted
from int_bench.runs.folder import RunFolder, Writer, describe
from int_bench.runs.layout import LOGS, shard_of
from int_bench.runs.manifest import read_manifest
from int_bench.runs.prepare import Prepared

_TIMEOUTS = 1000
"""How often a task may be handed in again."""


@dataclass(frozen=True)
class Slurm:
    """A job array.

    Attributes:
        tasks: how many; each works on one device.
        partition: of the cluster; None for its default, as below.
        account: that pays.
        qos: quality of service.
        constraint: features of the nodes, e.g. one kind of GPU.
        gpus: of a task; ``auto``: one where the models compute on CUDA.
        cpus: of a task.
        memory_gb: of a task.
        minutes: time limit of a task.
        signal_seconds: before the limit, when a task hands itself in again.
        options: further options of sbatch by name.
        wait: until the array is done.
        sample_seconds: after which a sample is ended and recorded as failed.
        start_seconds: what a task's first sample may take longer, for loading the models.
        patience: seconds without a sign of life until another task takes a task's shards.
        mixed: whether tasks may compute on different kinds of GPU.
        local: a folder on a disk of each node, to which what lies in the hub's cache is copied once
            and read from; ``~`` and ``$NAMES`` are those of the node. None: it is read where it is.
        shards: files that a new run's records are spread over, which tasks take one by one.
    """

    attaches: ClassVar[bool] = True
    LIBRARY: ClassVar[str] = "submitit"

    tasks: Count = 4
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto"
    cpus: Count = 4
    memory_gb: Annotated[float, Above(0)] | None = None
    minutes: Count = 240
    signal_seconds: Annotated[int, AtLeast(1)] = 120
    options: Mapping[str, Any] = field(default_factory=dict)
    wait: bool = True
    sample_seconds: Annotated[float, Above(0)] = 3600
    start_seconds: Annotated[float, AtLeast(0)] = 900
    patience: Annotated[float, Above(0)] = 60
    mixed: bool = False
    local: str | None = None
    shards: Annotated[int, Within(1, 65536)] | None = None

    def compute(
        self,
        runs: Sequence[Prepared],
        methods: Sequence[Method],
        config: RunConfig,
        listeners: Listeners,
    ) -> Done:
        """See :func:`int_bench.runs.executors.compute.compute`."""
        mended: tuple[str, ...] = ()
        array = under_way([run.path for run in runs])
        if array is None:
            submitit = _library()
            order, mended = self.order(runs, methods, config, listeners)
            array = self._submit(submitit, runs[0].path, order, config)
            listeners.tell(
                f"Slurm job {array.job} works on {len(order.wanted)} samples with {array.tasks} "
                f"tasks. Watch it with `int-bench status {runs[0].path}`, end it with `scancel "
                f"{array.job}`; its logs are in {runs[0].path / LOGS}."
            )
            self._say_devices(config, listeners)
        else:
            listeners.tell(f"Slurm job {array.job} is at it already; nothing is submitted.")
        if not self.wait:
            raise Submitted(
                f"Slurm job {array.job} is submitted; the same command scores what is done and "
                "submits what is missing then."
            )
        named = {
            run.path.absolute(): Variant(run.label, method, cast(RunFolder, _unopened(run)))
            for run, method in zip(runs, methods, strict=True)
        }
        try:
            with listeners.watch() as told:
                array.watch(lambda run, record: told(named[run], record))
        except KeyboardInterrupt:
            listeners.tell(
                f"Slurm job {array.job} goes on, and the same command waits for it again; "
                f"`scancel {array.job}` ends it."
            )
            raise
        return _finish(array, runs, listeners, mended)

    def order(
        self,
        runs: Sequence[Prepared],
        methods: Sequence[Method],
        config: RunConfig,
        listeners: Listeners,
    ) -> tuple[ArrayOrder, tuple[str, ...]]:
        """What tasks are to compute, as it is missing, and what was mended to know it.

        Raises:
            UserError: a folder cannot be written, or a model is not what the run was begun with.
        """
        models = {}
        if not on_cuda(config.backbone) or cuda_devices():  # a login node has no GPU
            built = build_backbones(config)
            models = {role: dict(backbone.identity) for role, backbone in built.items()}
        with ExitStack() as stack:
            variants = [
                Variant(run.label, method, stack.enter_context(run.open(models)))
                for run, method in zip(runs, methods, strict=True)
            ]
            left = [(i.variant, i.trial, i.sample.id) for i in unfinished(runs[0], variants)]
        wanted, stored = _wanted(runs[0], len(runs), left, config.exactness)
        profile = listeners.observe is not None
        order = ArrayOrder(
            Order.of(runs, config, profile).sealed(),
            tuple(run.path.absolute() for run in runs),
            wanted,
            stored,
            self.patience,
            self.sample_seconds,
            listeners.devices if of_one_kind(config, self.mixed) else None,
            shards_of(runs),
            self.local,
        )
        return order, mended_of(variants)

    def _submit(self, submitit: Any, run: Path, order: ArrayOrder, config: RunConfig) -> Array:
        """Hand the array in; what it is to do lies in the run folder before.

        Raises:
            UsageError: it is refused, in the words of Slurm.
        """
        shards = len({shard_of(wanted[1:], order.shards) for wanted in order.wanted})
        tasks, home = min(self.tasks, shards), order.folders[0]
        array = Array(secrets.token_hex(6), "", tasks, order.folders, shards, home)
        folder = array.folder
        allowed = Allowed(self.sample_seconds, self.start_seconds, self.cpus)
        try:
            array.write()  # who is killed while handing it in leaves its title
            digest = keep_order(folder, order)
            make_folder(run.absolute() / LOGS)
            executor = submitit.SlurmExecutor(run.absolute() / LOGS, max_num_timeout=_TIMEOUTS)
            parameters = self._parameters(on_cuda(config.backbone))
            executor.update_parameters(job_name=array.title, **parameters)
            tasks_of = [Supervisor(folder, i, digest, allowed) for i in range(tasks)]
            with executor.batch():
                jobs = [executor.submit(task) for task in tasks_of]
        except Exception as error:  # whatever submitit makes of sbatch's refusal
            array.remove()
            raise UsageError(f"Slurm did not take the job: {_reason(error)}.") from error
        array = replace(array, job=str(jobs[0].job_id).partition("_")[0])
        array.write()
        return array

    def _say_devices(self, config: RunConfig, listeners: Listeners) -> None:
        if not on_cuda(config.backbone) and not cuda_devices():
            listeners.tell(
                "Its models compute on CPUs, as this machine has no GPU and the configuration asks "
                "for none; device=cuda is for nodes that have some."
            )

    def _parameters(self, cuda: bool) -> dict[str, Any]:
        """What sbatch is told."""
        gpus = int(cuda) if self.gpus == "auto" else self.gpus
        given = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "gpus_per_node": gpus or None,
            "cpus_per_task": self.cpus,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M",
            "time": self.minutes,
            "signal_delay_s": self.signal_seconds,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, **self.options},
        }
        return {key: value for key, value in given.items() if value is not None}


def keep_order(folder: Path, order: ArrayOrder) -> str:
    """Put an order where tasks read it, ``parts/<array>`` of the first run; its digest."""
    content = pickle.dumps(order)
    make_folder(folder)
    write_whole(folder / ORDER, content)
    return hashlib.sha256(content).hexdigest()


def _wanted(
    plan: Prepared, variants: int, left: Sequence[Wanted], exactness: str
) -> tuple[tuple[Wanted, ...], frozenset[Wanted]]:
    """What tasks compute, and what of it is stored already.

    Outside E0 a shard of which something is left is computed as a whole, so that the same samples
    share batches.
    """
    if exactness == "E0":
        return tuple(left), frozenset()
    shards = plan.shards
    torn = {shard_of(wanted[1:], shards) for wanted in left}
    whole = [
        (variant, trial, sample.id)
        for sample in plan.samples
        for trial in range(plan.trials)
        if shard_of((trial, sample.id), shards) in torn
        for variant in range(variants)
    ]
    return tuple(whole), frozenset(whole) - frozenset(left)


def _unopened(run: Prepared) -> Writer:
    """A folder that this command does not write while the array does."""
    return Writer(run.path, run.config.keep, {}, {}, lambda key: run.path)


def _library() -> Any:
    try:
        return import_module("submitit")
    except ImportError as error:
        raise MissingAsset(
            "executor=slurm needs submitit, which is not installed; install it with "
            "pip install 'int-bench[slurm]'."
        ) from error


def _reason(error: Exception) -> str:
    """The scheduler's own words, in one line, or those of the system."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    told = [line.strip() for line in str(error).splitlines() if "error:" in line]
    text = (told or [str(error).strip() or type(error).__name__])[0]
    return text.removeprefix("sbatch:").strip().removeprefix("error:").strip().rstrip(".")[:300]


def _finish(
    array: Array, runs: Sequence[Prepared], listeners: Listeners, mended: tuple[str, ...]
) -> Done:
    """Merge what an array has left, and sum up what it has cost.

    Raises:
        UserError: two workers disagree, or a task met what every sample would.
    """
    cost = _cost(array, listeners)
    tallies = {run.label: Tally() for run in runs}
    _describe(array, runs)
    counted = {run.path.absolute(): tallies[run.label] for run in runs}
    collect(array, counted, listeners.tell)
    images = sum(tally.images for tally in tallies.values())
    counters = {name: int(number) for name, number in sorted(cost["counters"].items())}
    work = work_of(images, counters, cost["seconds"])
    return Done(counters, work, Sharing(tallies), mended)


def _describe(array: Array, runs: Sequence[Prepared]) -> None:
    """What served, as a task told it, where no model could be built here."""
    with suppress(OSError, ValueError):
        models = json.loads((array.folder / MODELS).read_bytes())
        for run in runs:
            kept = read_manifest(run.path).models.values()
            if models and not any(model.get("identity") for model in kept):
                describe(run.path, run.description(models))


def _cost(array: Array, listeners: Listeners) -> Mapping[str, Counter[str]]:
    """What the tasks have counted, and their traces handed on."""
    total: dict[str, Counter[str]] = {"counters": Counter(), "seconds": Counter()}
    shift = time.time() - time.perf_counter()
    for path in sorted(array.folder.glob("*.work")):
        work: dict[str, Any] = json.loads(path.read_bytes())
        for key, counter in total.items():
            counter.update(work[key])
        if listeners.observe is not None:
            worker = {"worker": f"shard {path.name.partition('.')[0]}"}
            for track, name, start, seconds, known in work["events"]:
                listeners.observe(track, name, start - shift, seconds, {**known, **worker})
    return total

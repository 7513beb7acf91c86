"""The gate: whether the model in a folder, loaded as its user would, is the one that was measured in memory."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils.memory import clear_device_cache
from safetensors.torch import load_file

from mmst_cli import processes
from mmst_cli.errors import WorkError, first_line, is_memory_shortage
from mmst_cli.model.adapter_folder import ADAPTER_CONFIG
from mmst_cli.model.patch_embedding import convolved
from mmst_cli.model.precision import Precision, dtype_name
from mmst_cli.model.random_state import randomness_kept
from mmst_cli.preparing.fresh_process import FreshProcess
from mmst_cli.preparing.plain_probe import ANSWER, VECTORS, Embedded, embed, embed_inputs, write_inputs
from mmst_cli.preparing.probe_bounds import draw_bounds
from mmst_cli.preparing.probe_comparison import choose_tolerance, compare_probes
from mmst_cli.preparing.probe_inputs import ProbeInput, draw_probe
from mmst_cli.preparing.probe_verdict import comparison_figures, find_faults, praise
from mmst_cli.retrieval.data_card import Rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ROOM = 2**31  # bytes of device memory that a second process takes beside the weights, activations included


@dataclass(frozen=True)
class GateResult:
    """Whether a folder holds what was measured, in a sentence and in figures."""

    passed: bool
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"passed": self.passed, "sentence": self.sentence, **self.figures}


class SavedModelGate:
    """Compares a saved model with the one in memory and the one before training, on a few inputs of every kind.

    Of several processes the first alone has inputs, and is to ask it.

    Args:
        model: the model in memory, as training begins with it.
        rows: dataset to rows, to draw the probe from.
        precision: mixed precision under which the model is measured.
        trust_remote_code: whether loading the model may run Python code that comes with it.
        revision: of the model that training begins with, where that isn't the default: by itself sentence-transformers
            loads an adapter over the default one, so that adapters are then loaded as this package does.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        rows: Mapping[str, Rows],
        precision: Precision,
        *,
        trust_remote_code: bool = False,
        revision: str | None = None,
    ) -> None:
        self.model, self.trust_remote_code, self.revision = model, trust_remote_code, revision
        self.autocast = dtype_name(precision.autocast) if precision.autocast else None
        self.inputs: list[ProbeInput] = []
        self.left_out: list[dict[str, str]] = []
        """Inputs that plain sentence-transformers refuses, and why: where a run does something for them."""
        if processes.is_first():
            with randomness_kept(), plain(model):
                drawn = draw_probe(rows)
                self.inputs = [item for item in (*drawn, *draw_bounds(drawn)) if self._takes(item)]
        self.base: Embedded | None = None
        self._process: FreshProcess | None = None

    def take_base(self) -> None:
        """Keep what the model makes of the probe before it is trained."""
        self.base = self.embed()

    def prepare(self) -> None:
        """Start the fresh process, so that its imports are done when it is asked."""
        if self._process is None:
            self._process = FreshProcess()

    def check(
        self, folder: Path, *, may_stay: bool = False, measured: Embedded | None = None, exported: str | None = None
    ) -> GateResult:
        """Load the model in ``folder`` in a fresh process and compare.

        Args:
            folder: a folder of sentence-transformers.
            may_stay: whether training could leave the model as it was: at a learning rate of 0.
            measured: what the model in memory made of the probe, if it isn't as it was any more.
            exported: the dtype of the folder's weights, where it may be another than that in memory.
        """
        begun = time.perf_counter()
        self.prepare()
        clear_device_cache(garbage_collection=True)  # of what training held
        try:
            memory, device = measured or self.embed(), self._choose_device()
        except Exception as shortage:
            if not is_memory_shortage(shortage):
                raise
            return GateResult(False, f"there is no room to embed a few inputs in memory: {first_line(shortage)}")
        saved, error = self._load(folder, device)
        figures: dict[str, Any] = {"measured_on": str(self.model.device), "autocast": self.autocast}
        if error and device != "cpu":  # no room after all, or a GPU that takes one process at a time
            figures["not_on_gpu"], device = error, "cpu"
            saved, error = self._load(folder, device)
        figures["device"] = device
        if saved is None:
            sentence = f"plain sentence-transformers can't use what was saved: {error}"
            return GateResult(False, sentence, figures)
        dtype = self.autocast or memory.settings["dtype"]
        same_attention = memory.settings["attention"] == saved.settings["attention"]
        if exported is not None:
            memory = replace(memory, settings=memory.settings | {"dtype": exported})
        tolerance = choose_tolerance(
            exported or dtype,
            self.model.device.type,
            torch.device(device).type,
            same_attention=same_attention,
            measured_in=dtype,
        )
        found = compare_probes(self.inputs, memory, saved, self.base)
        faults = find_faults(found, tolerance, may_stay=may_stay)
        figures |= {"dtype": dtype, "attention": saved.settings["attention"]}
        figures |= comparison_figures(self.inputs, found, tolerance) | {"left_out": self.left_out}
        figures["seconds"] = round(time.perf_counter() - begun, 2)
        return GateResult(not faults, " ".join(faults) or praise(found, tolerance), figures)

    def close(self) -> None:
        """End the fresh process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _takes(self, item: ProbeInput) -> bool:
        """Whether the model takes an input by itself: a text and an image may be longer than its limit, say.

        Raises:
            WorkError: there is no room for it.
        """
        try:
            embed_inputs(self.model, [item], self.autocast)
        except Exception as error:  # whatever a library raises for what it doesn't take
            if is_memory_shortage(error):
                raise WorkError(
                    f"out of memory with {item['place']} alone in a batch. Lower model.processor.max_pixels or what"
                    " media are read at, write model.dtype=bfloat16, or free the device."
                ) from error
            if item["side"] is not None:
                self.left_out.append({"input": item["place"], "error": first_line(error)})
            return False
        return True

    def embed(self) -> Embedded:
        """Return what the model in memory makes of the probe; no random state is disturbed."""
        with randomness_kept(), plain(self.model):
            return embed(self.model, self.inputs, self.autocast)

    def _load(self, folder: Path, device: str) -> tuple[Embedded | None, str | None]:
        """Return what the fresh process makes of the probe, or why it can't."""
        self.prepare()
        assert self._process is not None
        with tempfile.TemporaryDirectory(prefix="mmst-gate-") as exchange:
            write_inputs(self.inputs, Path(exchange))
            error = self._process.ask(
                {
                    "folder": exchange,
                    "model": str(folder.resolve()),
                    "device": device,
                    "autocast": self.autocast if torch.device(device).type == self.model.device.type else None,
                    "trust_remote_code": self.trust_remote_code,
                    "at_revision": self.revision is not None and (folder / ADAPTER_CONFIG).is_file(),
                    "threads": torch.get_num_threads(),
                }
            )
            if error:
                return None, error
            answer = json.loads((Path(exchange) / ANSWER).read_text(encoding="utf-8"))
            return Embedded(load_file(str(Path(exchange) / VECTORS)), **answer), None

    def _choose_device(self) -> str:
        """Return the model's own device if it has room for the model once more, else the CPU."""
        device = self.model.device
        if device.type != "cuda":
            return "cpu"
        size = sum(tensor.numel() * tensor.element_size() for tensor in self.model.state_dict().values())
        free, _ = torch.cuda.mem_get_info(device)
        return str(device) if free > size + ROOM else "cpu"


@contextmanager
def plain(model: SentenceTransformer) -> Iterator[None]:
    """Take inputs as the library alone takes them: without what this package does for some, or otherwise."""
    changed = {module: vars(module).pop("preprocess") for module in model.modules() if "preprocess" in vars(module)}
    try:
        with convolved(model):
            yield
    finally:
        for module, preprocess in changed.items():
            module.preprocess = preprocess

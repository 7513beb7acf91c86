"""Operations on tensors without values: run on their shapes, counted with their arithmetic and the bytes that live.

Numbers with a fraction are on the meta device: they have a shape and no values, so that a model of any size takes no
memory and no arithmetic. Whole numbers (tokens, positions, masks) are computed on the CPU, for shapes depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from mmst_cli.model.live_storages import LiveStorages

META = torch.device("meta")
_WITH_PLACES = ("aten::index.Tensor", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_IN_HALF = {
    functional.linear,
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
    torch.matmul,
    torch.mm,
    torch.bmm,
    torch.addmm,
    torch.baddbmm,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    functional.scaled_dot_product_attention,
}
"""What autocast computes in half precision."""
_IN_FULL = {functional.layer_norm, functional.group_norm, functional.softmax, torch.softmax, torch.Tensor.softmax}
"""What it computes in float32, among what models hold."""


@contextmanager
def counted(autocast: torch.dtype | None) -> Iterator[Counter]:
    """Let operations run on shapes, and count them.

    Args:
        autocast: the half precision that forward passes run under.
    """
    counter = Counter()
    kernels = _Kernels(autocast, counter)
    _running.append(kernels)
    try:
        with counter, kernels:
            yield counter
    finally:
        _running.pop()


_running: list[_Kernels] = []


def recomputed_alike() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return contexts for what checkpointing computes and computes again: autograd leaves that mode when it does."""
    return nullcontext(), _running[-1] if _running else nullcontext()


class Counter(TorchDispatchMode):  # type: ignore[misc]
    """Runs operations on shapes, and counts them, their arithmetic, and the bytes that live."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.kernels = self.copies = 0
        self._storages = LiveStorages()
        self._results: dict[Any, _Result] = {}

    @property
    def peak(self) -> int:
        """The most bytes that lived at a time."""
        return self._storages.peak

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(tensor.is_meta for tensor in given):
            return self._taken_up(_on_cpu(function, args, kwargs), ())
        if function is torch.ops.aten._to_copy.default and _to_cpu(kwargs):
            if not given[0].is_floating_point():  # such as positions that a model holds, whose values nothing asks for
                return torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
            kwargs = {**kwargs, "device": META}
        if not all(tensor.is_meta for tensor in given):
            args, kwargs = _all_on_meta(function, args, kwargs)
        key = (function, _shapes_in(args), _shapes_in(kwargs)) if _is_new(function) else None
        if key is not None and (known := self._results.get(key)) is not None:
            self.flops += known.flops
            return self._taken_up(known.again(), ())
        result = function(*args, **kwargs)
        count = flop_registry.get(function._overloadpacket)
        flops = 0 if count is None else int(count(*args, **kwargs, out_val=result))
        self.flops += flops
        storages = {tensor.untyped_storage()._cdata for tensor in given if tensor.is_meta}
        # Some are views though they don't say so.
        if key is not None and isinstance(result, torch.Tensor) and result.untyped_storage()._cdata not in storages:
            self._results[key] = _Result(tuple(result.shape), result.stride(), result.dtype, flops)
        return self._taken_up(result, storages)

    def _taken_up(self, result: Any, given: Any) -> Any:
        new = False
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                storage = tensor.untyped_storage()
                if storage._cdata not in given:
                    new |= self._storages.add(storage)
        self.kernels += new
        return result


def _to_cpu(kwargs: Mapping[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cpu"


class _Result(NamedTuple):
    """What an operation returned for shapes that come again in every layer: asking torch takes far longer."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    flops: int

    def again(self) -> torch.Tensor:
        """Return a tensor like it."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=META)


@cache
def _is_new(function: Any) -> bool:
    """Say whether what an operation returns is one new tensor, and none that it was given is changed."""
    schema = function._schema
    written = any(argument.alias_info is not None for argument in (*schema.arguments, *schema.returns))
    return not written and len(schema.returns) == 1


def _shapes_in(value: Any) -> Any:
    """Return what an operation's result depends on of its arguments, to be looked up by."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple(map(_shapes_in, value))
    if isinstance(value, dict):
        return tuple((name, _shapes_in(one)) for name, one in value.items())
    return type(value), value


def _on_cpu(function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on whole numbers, whose results stay where they have values though the device is asked for."""
    result = function(*args, **kwargs)
    device = kwargs.get("device")
    if device is None or torch.device(device).type != "meta" or not isinstance(result, torch.Tensor):
        return result
    if result.is_floating_point() or result.is_complex():
        return result
    return function(*args, **{**kwargs, "device": torch.device("cpu")})


def _all_on_meta(function: Any, args: Any, kwargs: Any) -> Any:
    """Return arguments without values; a mask that chooses places is replaced by these, for it says how many."""
    if function.name() in _WITH_PLACES:
        places: list[Any] = []
        for index in args[1]:
            chooses = index is not None and index.dtype is torch.bool and not index.is_meta
            places += index.nonzero(as_tuple=True) if chooses else [index]
        args = (args[0], places, *args[2:])
    return tree_map_only(
        torch.Tensor, lambda tensor: tensor if tensor.is_meta else torch.empty_like(tensor, device=META), (args, kwargs)
    )


class _Kernels(TorchFunctionMode):  # type: ignore[misc]
    """Has functions computed as an accelerator does: attention fused, and under autocast in its two precisions."""

    def __init__(self, autocast: torch.dtype | None, counter: Counter) -> None:
        super().__init__()
        self.autocast, self.counter = autocast, counter
        self._copies: dict[int, torch.Tensor] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.autocast is not None:
            if function in _IN_HALF:
                args, kwargs = tree_map_only(torch.Tensor, self._halved, (args, kwargs))
            elif function in _IN_FULL:
                args, kwargs = tree_map_only(torch.Tensor, _in_full, (args, kwargs))
        if function is functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return function(*args, **kwargs)

    def _halved(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is not torch.float32:
            return tensor
        if not isinstance(tensor, nn.Parameter):
            return tensor.to(self.autocast)
        if id(tensor) not in self._copies:  # autocast keeps those of weights for the whole pass
            self._copies[id(tensor)] = tensor.to(self.autocast)
            self.counter.copies += self._copies[id(tensor)].nbytes
        return self._copies[id(tensor)]

    def _attend(self, query: Any, key: Any, value: Any, attn_mask: Any = None, *rest: Any, **options: Any) -> Any:
        groups = query.shape[-3] // key.shape[-3] if query.ndim > 3 else 1
        if query.device != key.device or not query.is_meta:
            return functional.scaled_dot_product_attention(query, key, value, attn_mask, *rest, **options)
        return _FusedAttention.apply(query, key, value, groups, self.counter)


def _in_full(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


class _FusedAttention(torch.autograd.Function):  # type: ignore[misc]
    """Attention as flash attention has it: no matrix of all pairs is kept."""

    @staticmethod
    def forward(context: Any, query: Any, key: Any, value: Any, groups: int, counter: Counter) -> Any:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        sums = torch.empty(query.shape[:-1], dtype=torch.float32, device=META)
        context.save_for_backward(query, key, value, out, sums)
        context.groups, context.counter = groups, counter
        counter.flops += sdpa_flop_count(*_shapes(query, key, value, groups))
        return out

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        query, key, value, _, _ = context.saved_tensors
        shapes = _shapes(query, key, value, context.groups)
        context.counter.flops += sdpa_backward_flop_count(gradient.shape, *shapes)
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None, None


def _shapes(query: Any, key: Any, value: Any, groups: int) -> list[tuple[int, ...]]:
    """Return shapes of (batch, heads, rows, size), with a head of keys for each of queries."""
    found: list[tuple[int, ...]] = []
    for tensor, times in ((query, 1), (key, groups), (value, groups)):
        *batch, rows, size = tensor.shape
        heads = batch[-1] * times if batch else 1
        found.append((max(1, int(torch.Size(batch[:-1]).numel())), heads, rows, size))
    return found

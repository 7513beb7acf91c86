"""Weights held in four or eight bits by bitsandbytes, as transformers reads them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError

KEY = "model.quantization"
INSTALL = "pip install 'mmst-cli[qlora]'"


def check_quantizable(config: ModelConfig, device: torch.device) -> None:
    """Notice before anything is loaded that weights can't be quantised here.

    Raises:
        ModelError: the device is no CUDA GPU, or bitsandbytes isn't installed.
    """
    if config.quantization is None:
        return
    if device.type != "cuda":
        raise ModelError(
            f"{KEY}: bitsandbytes needs a CUDA GPU, and the device is {device.type}. Leave it out to train the adapter"
            " over whole weights."
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"{KEY}: it needs the package bitsandbytes, which isn't installed: {INSTALL}.")


def quantization_kwargs(config: ModelConfig, weights: torch.dtype | None) -> dict[str, Any]:
    """Return the arguments by which transformers quantises a model as it reads it; none without `quantization`.

    Args:
        config: the section.
        weights: what the rest is held in, and what is computed in; bfloat16 if left open.
    """
    from transformers import BitsAndBytesConfig

    asked = config.quantization
    if asked is None:
        return {}
    computed = weights or torch.bfloat16
    skipped = list(asked.skip_modules) or None
    if asked.bits == 8:
        settings = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=str(asked.type),
            bnb_4bit_use_double_quant=asked.double,
            bnb_4bit_compute_dtype=computed,
            llm_int8_skip_modules=skipped,
        )
    return {"quantization_config": settings, "dtype": computed}

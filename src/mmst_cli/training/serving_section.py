"""How a model is served, for its card: commands, requests with the instruction where training had it, first values."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmst_cli.model.model_parts import takes
from mmst_cli.model.precision import Precision, dtype_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TEXT = "a red page"
SIDE = 64  # pixels of the image
SHOWN = 4  # values of a vector
FOLDER = "path/to/this/folder"


def serving_section(model: SentenceTransformer, precision: Precision, dims: Sequence[int] = ()) -> str:
    """Return the section, in Markdown; an empty text for a model that isn't one of transformers with one tower.

    Args:
        model: the model.
        precision: mixed precision it is measured under.
        dims: the Matryoshka dimensions that it was trained at; none if it wasn't.
    """
    try:
        with precision.forward_of(model):
            return _section(model, dims)
    except Exception:  # whatever a library raises for a red square: a card is no reason to lose a trained model
        return ""


def _section(model: SentenceTransformer, dims: Sequence[int]) -> str:
    encoder = model[0]
    if not hasattr(encoder, "input_formatter") or not takes(model, "text") or _is_of_towers(encoder):
        return ""
    requests = [_shown("A text, as a query", _request(model, "query", TEXT), model.encode_query(TEXT))]
    if takes(model, "image"):
        image = Image.new("RGB", (SIDE, SIDE), "red")
        vector = model.encode_document([image])[0]
        requests.append(_shown("An image, as a document", _request(model, "document", image), vector))
    rendered = _rendered(model, TEXT)
    dtype = dtype_name(model.dtype)
    asked = json.dumps({"model": FOLDER, "input": rendered}, ensure_ascii=False)
    smaller = f'\nFewer dimensions: add `"dimensions": {min(dims)}`, or another that was trained.\n' if dims else ""
    return f"""## Serve

vLLM, which would take float32 weights as float16 if it weren't told otherwise:

```bash
vllm serve {FOLDER} --runner pooling --dtype {dtype}
```

{chr(10).join(requests)}
{smaller}
SGLang, which takes a text as it is, the instruction and the template in it:

```bash
python -m sglang.launch_server --model-path {FOLDER} --is-embedding --dtype {dtype}
curl http://localhost:30000/v1/embeddings -H 'Content-Type: application/json' -d {_quoted(asked)}
```

The values are those of this model in {dtype}. In half precision a server's may differ from the third digit on; where
they differ by more, it was asked for something else."""


def _is_of_towers(encoder: Any) -> bool:
    """Whether texts and images go through models of their own, as CLIP's: servers take those in ways of their own."""
    return "message" not in encoder.modality_config and len(encoder.modality_config) > 1


def _shown(title: str, request: Mapping[str, Any], vector: Any) -> str:
    body = json.dumps(request, ensure_ascii=False)
    values = ", ".join(f"{float(value):.4f}" for value in vector[:SHOWN])
    return (
        f"{title}; its vector begins with {values}:\n\n```bash\ncurl http://localhost:8000/v1/embeddings"
        f" -H 'Content-Type: application/json' -d {_quoted(body)}\n```\n"
    )


def _quoted(body: str) -> str:
    return "'" + body.replace("'", "'\\''") + "'"


def _request(model: SentenceTransformer, side: str, value: Any) -> dict[str, Any]:
    """Return the request for one input."""
    request: dict[str, Any] = {"model": FOLDER, "encoding_format": "float"}
    if "message" not in model[0].modality_config:
        return request | {"input": _rendered(model, value)}
    messages = [{**message, "content": _in_request(message["content"])} for message in messages_of(model, side, value)]
    return request | {"messages": messages, **model[0].processing_kwargs.get("chat_template", {})}


def messages_of(model: SentenceTransformer, side: str, value: Any) -> list[dict[str, Any]]:
    """Return the chat that an input becomes, the prompt of its side included."""
    formatter, kind = model[0].input_formatter, "text" if isinstance(value, str) else "image"
    _, found = formatter.batch_to_message(kind, {kind: [value]})
    messages, prompt = found["message"], model.prompts.get(side)
    chat: list[dict[str, Any]] = (formatter.prepend_prompt_to_messages(messages, prompt) if prompt else messages)[0]
    return chat


def _rendered(model: SentenceTransformer, text: str) -> str:
    """Return what the tokenizer is given of a query."""
    if "message" not in model[0].modality_config:
        return f"{model.prompts.get('query', '')}{text}"
    options = model[0].processing_kwargs.get("chat_template", {})
    return str(model[0].processor.apply_chat_template(messages_of(model, "query", text), tokenize=False, **options))


def _in_request(content: Any) -> Any:
    """Return the content of a message as a server takes it: an image as its bytes."""
    if isinstance(content, str):
        return content
    return [_image_in_request(part["image"]) if part["type"] == "image" else part for part in content]


def _image_in_request(image: Image.Image) -> dict[str, Any]:
    file = BytesIO()
    image.save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}

"""The variant for clips; that for pages is looked at in test_load.py."""

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from mmst_cli.builtin.clip_drawing import ClipAttributes, draw_clip
from mmst_cli.builtin.clips import sample_queries
from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl, build_tiny_qwen3vl_video


@pytest.fixture(scope="module")
def folder():
    return build_tiny_qwen3vl_video()


@pytest.fixture(scope="module")
def model(folder):
    return SentenceTransformer(str(folder), device="cpu")


def video(frames):
    metadata = {"fps": 4.0, "total_num_frames": len(frames), "frames_indices": list(range(len(frames)))}
    return {"array": np.ascontiguousarray(frames), "video_metadata": metadata}


def clip(move="left", size="constant"):
    return draw_clip(ClipAttributes("disc", "red", "navy", move, size), 3)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_it_is_what_it_says(model):
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.modalities == ["text", "image", "video", "message"]
    assert model.get_embedding_dimension() == 128
    assert type(model[0].model).__name__ == "Qwen3VLModel"
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"]
    assert model[1].pooling_mode == "lasttoken"


def test_it_encodes_clips_texts_and_images(model):
    inputs = {
        "text": ["a red disc", "", "Ünïcödé 漢字 🦊"],
        "image": [Image.new("RGB", size, (200, 30, 30)) for size in ((32, 32), (96, 128), (500, 300))],
        "video": [video(clip(move)) for move in ("left", "right", "up")],
    }
    for modality, values in inputs.items():
        vectors = model.encode(values, convert_to_tensor=True)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(3)), modality
        assert (vectors @ vectors.T).fill_diagonal_(-1).max() < 0.99999, modality


def test_the_order_of_frames_matters(model):
    frames = clip("left", "growing")
    shuffled = frames[[3, 0, 6, 1, 7, 4, 2, 5]]
    forward, backward, mixed = model.encode([video(f) for f in (frames, frames[::-1], shuffled)])
    for one, other in ((forward, backward), (forward, mixed), (backward, mixed)):
        assert abs(one - other).max() > 1e-3


def test_a_clip_lies_in_one_temporal_patch_and_no_frame_is_left_out(model):
    assert model.preprocess([video(clip())])["video_grid_thw"].tolist() == [[1, 4, 4]]
    longer = np.concatenate([clip(), clip()])
    assert model.preprocess([video(longer)])["video_grid_thw"].tolist() == [[2, 2, 2]]  # frames scaled down for it


def test_the_tokenizer_knows_the_time_stamp_of_a_clip(model):
    tokenizer = model[0].processor.tokenizer
    prompt = tokenizer.decode(model.preprocess([video(clip())])["input_ids"][0])
    assert "<0.9 seconds>" in prompt
    assert len(tokenizer.tokenize("<0.9 seconds>")) <= 6
    assert len(tokenizer.tokenize("<0.9 minutes>")) > 6


def test_the_tokenizer_knows_the_words_of_the_queries(model):
    tokenizer = model[0].processor.tokenizer
    for query in sample_queries(50, seed=9):
        assert len(tokenizer.tokenize(query)) <= len(query.split()) + query.count(",") + query.count(":")


def test_two_builds_are_the_same_and_leave_the_random_state_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    built = build_tiny_qwen3vl_video()
    assert torch.equal(torch.rand(1), expected)
    assert files_of(built) == files_of(folder)
    other = build_tiny_qwen3vl_video(seed=1)
    assert (other / "model.safetensors").read_bytes() != (built / "model.safetensors").read_bytes()


def test_the_models_for_pages_and_clips_have_folders_of_their_own(folder):
    assert folder.name.startswith("tiny-qwen3-vl-video-")
    assert build_tiny_qwen3vl() != folder


def test_a_saved_model_gives_the_same_vectors_bitwise(model, tmp_path):
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    for inputs in (list(sample_queries(4)), [video(clip(move)) for move in ("left", "up", "still")]):
        assert torch.equal(saved.encode(inputs, convert_to_tensor=True), model.encode(inputs, convert_to_tensor=True))

import pytest

from mmst_cli.config.rules_model import check_media, check_model, split_route
from mmst_cli.config.schema import MediaConfig, ModelConfig, Pooling, RouteConfig


def routed(*routes, **fields):
    return ModelConfig(routes={route: RouteConfig(name_or_path="some/model") for route in routes}, **fields)


def named(**fields):
    return ModelConfig(name_or_path="some/model", **fields)


@pytest.mark.parametrize(
    "model",
    [
        named(),
        named(pooling=Pooling.mean, frozen=["visual", r"^0\.model"], processor={"min_pixels": 1, "max_pixels": 1}),
        routed("text", "image", dimension=128),
        routed("query", "document"),
        routed("query/text", "document/image", "audio", normalize=False),
    ],
)
def test_models_that_are_fine(model):
    assert check_model(model) == []


@pytest.mark.parametrize(
    ("model", "faults"),
    [
        (ModelConfig(), ["model.name_or_path: missing. Name a hub id, a model folder or a built-in model as text, or"]),
        (named(dimension=64), ["model.dimension: only for a model with routes"]),
        (routed("text", "image", name_or_path="a"), ["model.name_or_path: found beside routes"]),
        (routed("text", "image", revision="main"), ["model.revision: with routes, each encoder has its own"]),
        (routed("text", "image", pooling=Pooling.cls), ["model.pooling: with routes, each encoder has its own"]),
        (routed("text", "image", processor={"a": 1}), ["model.processor: with routes, each encoder has its own"]),
        (routed("text"), ["model.routes: one route needs no router."]),
        (routed("text", "imge"), ["model.routes.imge: a route is a modality (text, image, audio, video), a side"]),
        (routed("text", "text/query"), ["model.routes.text/query: a route is a modality"]),
        (routed("text", "image", dimension=0), ["model.dimension: found 0; it is 1 or more."]),
        (named(frozen=["ok", "(a"]), ["model.frozen.1: (a: not a regular expression: missing )"]),
        (named(processor={"max_pixels": 0}), ["model.processor.max_pixels: found the number 0; it is a whole"]),
        (named(processor={"min_pixels": 9, "max_pixels": 4}), ["model.processor.min_pixels: 9 is above max_pixels, 4"]),
    ],
)
def test_faults_of_the_model(model, faults):
    found = check_model(model)
    assert len(found) == len(faults)
    for sentence, beginning in zip(found, faults, strict=True):
        assert sentence.startswith(beginning), sentence


def test_a_misspelt_route_gets_a_suggestion():
    assert check_model(routed("text", "imge"))[0].endswith(" Did you mean image?")


def test_faults_of_a_route():
    model = routed("text", "image")
    model.routes["image"] = RouteConfig(name_or_path="", processor={"min_pixels": "many"})
    faults = check_model(model)
    assert faults[0].startswith("model.routes.image.name_or_path: missing.")
    assert faults[1].startswith('model.routes.image.processor.min_pixels: found the text "many"; it is a whole number')


def test_media_that_are_fine():
    assert check_media(MediaConfig()) == []
    assert check_media(MediaConfig(max_seconds=0.5, fps=0.1, max_frames=1, max_pixels=1, dpi=1200)) == []


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("max_seconds", 0.0, "found 0; it is above 0."),
        ("max_seconds", float("nan"), "found nan; it is above 0."),
        ("fps", -1.0, "found -1; it is above 0."),
        ("fps", float("inf"), "found inf; it is above 0."),
        ("max_frames", 0, "found 0; it is 1 or more."),
        ("max_pixels", -4, "found -4; it is 1 or more."),
        ("dpi", 9, "found 9; it is 10 to 1200 dots per inch."),
        ("dpi", 1201, "found 1201; it is 10 to 1200 dots per inch."),
    ],
)
def test_faults_of_media(field, value, fault):
    (found,) = check_media(MediaConfig(**{field: value}))
    assert found.startswith(f"media.{field}: {fault}")


def test_routes_are_split_into_side_and_modality():
    assert split_route("query/text") == ("query", "text")
    assert split_route("document") == ("document", None)
    assert split_route("audio") == (None, "audio")
    for name in ("", "query/", "/text", "query/query", "text/image", "message", "query/text/image"):
        with pytest.raises(ValueError, match="not a route"):
            split_route(name)

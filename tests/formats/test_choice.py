"""What a variant says of roles is what it does to the networks of a model, whatever they are called."""

import pytest

from stages.lib.formats.shared.choice import on_model
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant, variant_of

INT8 = {"backend": "openvino", "weights": "int8", "activations": "int8", "device": "cpu", "compute": "float32"}


def _variant(**keys) -> Variant:
    return variant_of(**{"name": "v", "label": "V", "backend": "torch", "weights": "float16", **keys})


@pytest.mark.parametrize(
    ("kind", "components", "expected"),
    [
        ("sd15", None, ("unet", "vae", "text_encoder", "safety_checker")),
        ("sd15", ["denoiser", "safety_checker"], ("unet", "safety_checker")),
        ("sd3", ["denoiser", "safety_checker"], ("transformer",)),
        ("flux", ["text_encoders"], ("text_encoder", "text_encoder_2")),
        ("flux", ["text_encoder_2", "decoder"], ("vae", "text_encoder_2")),
    ],
)
def test_roles_and_names_choose_networks(tiny_kind, kind, components, expected):
    """Protects variants that hold for models of any kind."""
    variant = on_model(_variant(components=components), tiny_kind(kind))
    assert variant.components == expected
    assert on_model(variant, tiny_kind(kind)) == variant


def test_activations_and_schedules_follow(tiny_kind):
    """Protects INT8 in some components alone, and precisions of single calls."""
    keys = {**INT8, "activation_components": ["denoiser", "decoder"], "schedule": ["4 x bfloat16", "int8"]}
    assert on_model(_variant(**keys), tiny_kind("flux")).rounded_components == ("transformer", "vae")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"components": ["unet"]}, "'variants.v.components' names 'unet', which is no network of"),
        ({"components": ["safety_checker"]}, "'variants.v.components' names safety_checker, of which"),
        ({**INT8, "activation_components": ["unet"]}, "'variants.v.activation_components' names 'unet', which is no"),
        (
            {**INT8, "components": ["decoder"], "activation_components": ["denoiser"]},
            "activation_components' has 'transformer', which is not one of `components`",
        ),
        ({**INT8, "components": ["decoder"], "schedule": ["float32"]}, "schedule' gives calls of the denoiser"),
        (
            {**INT8, "activation_components": ["decoder"], "schedule": ["none"]},
            "schedule' has 'none', which says whether activations of the denoiser are INT8, but it has none",
        ),
    ],
)
def test_what_a_model_does_not_have_is_named(tiny_kind, keys, said):
    """Protects against a variant that is quietly something else."""
    with pytest.raises(UserError) as caught:
        on_model(_variant(**keys), tiny_kind("flux"))
    assert said in str(caught.value)

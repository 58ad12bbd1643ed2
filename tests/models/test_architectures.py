import pytest
import torch

from models.architectures import ARCHITECTURES, STRIDE

pytestmark = pytest.mark.parametrize("name", ARCHITECTURES)


def test_three_maps_at_strides_8_16_and_32(name: str) -> None:
    maps = ARCHITECTURES[name]()(torch.zeros(2, 3, 2 * STRIDE, 3 * STRIDE))
    assert [tuple(one.shape[2:]) for one in maps] == [(8, 12), (4, 6), (2, 3)]
    assert all(one.shape[0] == 2 and bool(torch.isfinite(one).all()) for one in maps)


def test_weights_are_the_same_every_time_and_the_global_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(0)
    expected_draw = torch.rand(1)
    torch.manual_seed(0)
    first = ARCHITECTURES[name]()
    assert torch.rand(1) == expected_draw or name != "small_cnn"
    second = ARCHITECTURES[name]()
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(first(images), second(images), strict=True))


def test_ready_for_inference(name: str) -> None:
    assert not ARCHITECTURES[name]().training


def test_batch_norm_sees_the_statistics_that_it_was_trained_on(name: str) -> None:
    """Wrong padding, epsilon or input scale would push smooth natural brightness far from the running means."""
    backbone = ARCHITECTURES[name]()
    distances: list[float] = []
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda norm, inputs: distances.append(
                    float(((inputs[0].mean((0, 2, 3)) - norm.running_mean) ** 2 / (norm.running_var + 1e-3)).median())
                )
            )
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 14, 14, generator=generator) * 255
    images = torch.nn.functional.interpolate(coarse, size=224, mode="bilinear")
    with torch.inference_mode():
        backbone(images)
    assert all(distance < 1 for distance in distances)

"""The microscope in torch: equal to the compiled one, and gradients that differences confirm."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from neuropil.simulate.differentiable import DifferentiableFibSem, ImagingParameters
from neuropil.simulate.fibsem import expected_electrons, image_fibsem
from neuropil.simulate.imaging import load_microscope
from neuropil.simulate.materials import load_materials
from neuropil.simulate.microscope import FibSem
from neuropil.simulate.truth import Truth


def microscope(**update: object) -> FibSem:
    still = {"drift_gain_sd": 0.0, "drift_offset_grey": 0.0}
    return FibSem.model_validate(load_microscope("fibsem").model_dump() | still | update)


def box(block: Truth) -> Truth:
    return block.crop((3, 40, 25), (12, 60, 90))


def model_of(block: Truth, through: FibSem, key: int = 5, device: str = "cpu") -> DifferentiableFibSem:
    volumes = block.materials, block.membrane, block.instances
    return DifferentiableFibSem(*volumes, load_materials(), through, key, np.array([1, 1.2, 0.8], np.float32), device)


@pytest.mark.parametrize("energy_filter_share", [0.0, 0.8])
def test_without_noise_it_is_the_compiled_image_to_float_tolerance(block: Truth, energy_filter_share: float) -> None:
    through, part, table = microscope(energy_filter_share=energy_filter_share), box(block), load_materials()
    ours = expected_electrons(
        part.materials, part.membrane, part.instances, table, through, 5, np.array([1, 1.2, 0.8], np.float32)
    )
    theirs = model_of(part, through).expected_electrons(ImagingParameters.of(table, through)).numpy()
    assert np.abs(theirs / ours - 1.0).max() < 2e-5


def test_with_noise_its_grey_levels_are_the_compiled_ones(block: Truth) -> None:
    """But for rounding, of grey levels and of electrons."""
    through, part, table = microscope(read_noise_grey=3.0), box(block), load_materials()
    shot = image_fibsem(part.materials, part.membrane, part.instances, table, through, np.random.default_rng(2))
    model = DifferentiableFibSem(
        part.materials, part.membrane, part.instances, table, through, shot.parameters["key"]
    )  # fmt: skip
    parameters = ImagingParameters.of(table, through)
    sample = model.sample(parameters).numpy()
    inside = (shot.image.data > 0) & (shot.image.data < 255)
    most = 0.5 + 0.5 * abs(through.gain_grey_per_electron) + 0.01
    assert np.abs(sample - shot.image.data)[inside].max() < most
    mean, variance = model.grey(parameters)
    standard = ((sample - mean.numpy()) / np.sqrt(variance.numpy())).std()
    assert standard == pytest.approx(1.0, abs=0.02)


def test_gradients_are_what_differences_say(block: Truth) -> None:
    """Of a sum over the image that weighs every voxel differently, for each parameter in turn."""
    through, table = microscope(read_noise_grey=2.0), load_materials()
    model = model_of(box(block), through)
    start = ImagingParameters.of(table, through)
    weights = torch.as_tensor(np.random.default_rng(0).normal(size=(12, 60, 90)))

    def weighed(parameters: ImagingParameters) -> torch.Tensor:
        return (weights * model.sample(parameters)).sum()

    own = {field.name: getattr(start, field.name).clone().requires_grad_() for field in fields(start)}
    weighed(ImagingParameters(**own)).backward()
    plasm = [table[name].id for name in ("axoplasm", "dendroplasm", "astroplasm", "membrane")]
    for name, value in own.items():
        # One direction for each: all of a small tensor, the commonest materials of a large one. Grain that is
        # stretched by more would be other grain at the far end of the block; depths are tabulated.
        step = torch.zeros_like(value)
        where = plasm if value.numel() == 256 else ...
        step[where] = (0.001 if name.endswith(("grain_nm", "share")) else 0.01) * value.detach()[where].abs()
        ahead, behind = (weighed(replace(start, **{name: value.detach() + s * step})).item() for s in (0.5, -0.5))
        assert (value.grad * step).sum().item() == pytest.approx(ahead - behind, rel=0.03, abs=0.1), name


def test_parameters_go_back_into_models(block: Truth) -> None:
    table, through = load_materials(), microscope()
    start = ImagingParameters.of(table, through)
    stain = start.stain_fraction.clone()
    stain[table["membrane"].id] = 0.2
    changed = replace(start, stain_fraction=stain, fine_grain_nm=torch.tensor(30.0), offset_grey=torch.tensor(400.0))
    new_table, new_microscope = changed.applied(table, through)
    assert new_table["membrane"].stain_fraction == pytest.approx(0.2, abs=1e-6)
    assert new_table["axoplasm"].stain_fraction == pytest.approx(table["axoplasm"].stain_fraction, abs=1e-6)
    assert (new_table.fine_grain_nm, new_microscope.offset_grey) == (30.0, 400.0)
    with pytest.raises(ValueError, match="energy_filter_share"):
        replace(start, energy_filter_share=torch.tensor(1.2)).applied(table, through)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_gives_the_same_image(block: Truth) -> None:
    through, table = microscope(), load_materials()
    images = [
        model_of(box(block), through, device=device).sample(ImagingParameters.of(table, through, device)).cpu().numpy()
        for device in ("cpu", "cuda")
    ]
    assert np.abs(images[0] - images[1]).max() < 0.02

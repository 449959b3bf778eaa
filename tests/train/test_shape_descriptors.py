import numpy as np
import pytest

from neuropil.train.shape_descriptors import shape_descriptors


def cells() -> np.ndarray:
    """A tube that runs obliquely, and the corner of a slab."""
    z, y, x = np.mgrid[:6, :12, :14]
    ids = np.zeros((6, 12, 14), np.uint32)
    ids[(y - 4) ** 2 + (x - 4 - z) ** 2 < 9] = 7
    ids[(z > 2) & (x > 9)] = 3
    return ids


# lsds 0.1.3, get_local_shape_descriptors in its Gaussian mode, at voxels (2, 4, 6) and (4, 8, 12) of `cells()`.
SIGMA_40_AT_20_10_10 = (
    [0.5245, 0.5, 0.501, 0.4694, 0.1196, 0.1834, 0.5, 0.8136, 0.5, 0.1722],
    [0.5, 0.3545, 0.4423, 0.1596, 0.5021, 0.0761, 0.5, 0.5, 0.5, 0.1675],
)
SIGMA_30_AT_10_10_10 = (
    [0.5306, 0.5, 0.5112, 0.2425, 0.2052, 0.3074, 0.5, 0.8172, 0.5, 0.2097],
    [0.5, 0.3890, 0.4277, 0.0727, 0.6573, 0.1324, 0.5, 0.5, 0.5, 0.1664],
)


@pytest.mark.parametrize(
    ("sigma_nm", "size_nm", "expected"),
    [(40.0, (20.0, 10.0, 10.0), SIGMA_40_AT_20_10_10), (30.0, (10.0, 10.0, 10.0), SIGMA_30_AT_10_10_10)],
)
def test_the_authors_own_numbers(
    sigma_nm: float, size_nm: tuple[float, float, float], expected: tuple[list[float], list[float]]
) -> None:
    found = shape_descriptors(cells(), sigma_nm, size_nm)
    np.testing.assert_allclose(found[:, 2, 4, 6], expected[0], atol=1e-4)
    np.testing.assert_allclose(found[:, 4, 8, 12], expected[1], atol=1e-4)
    assert found.dtype == np.float32
    assert not found[:, cells() == 0].any()


def test_a_section_has_six() -> None:
    found = shape_descriptors(cells(), 30.0, (50.0, 10.0, 10.0), planar=True)
    np.testing.assert_allclose(found[:, 3, 4, 7], [0.5, 0.5, 0.2052, 0.2052, 0.5, 0.3581], atol=1e-4)

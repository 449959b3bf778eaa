"""Materials and structures: what their tables must hold and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from neuropil.simulate.materials import Material, MaterialTable, cell_stains, load_materials, load_structures

IDS = {
    "ecs": 0, "axoplasm": 1, "dendroplasm": 2, "astroplasm": 3, "myelin": 4, "mitochondrial_matrix": 5,
    "crista": 6, "vesicle_lumen": 7, "psd": 8, "active_zone": 9, "cleft": 10, "er_lumen": 11,
    "microtubule": 12, "mvb_lumen": 13, "lysosome": 14, "spinoplasm": 15, "filament": 16, "membrane": 17,
    "oligoplasm": 18, "endosome_lumen": 19, "nucleoplasm": 20, "heterochromatin": 21, "nucleolus": 22,
}  # fmt: skip


def test_shipped_tables_agree() -> None:
    table, structures = load_materials(), load_structures()
    assert {name: material.id for name, material in table.materials.items()} == IDS
    assert {structure.material for structure in structures.structures.values()} <= set(IDS)
    assert structures["mitochondrion"].membrane_nm == 20


def test_heavier_stain_scatters_more() -> None:
    table = load_materials()
    order = ("astroplasm", "dendroplasm", "mitochondrial_matrix", "membrane")
    coefficients = [table[name].backscatter(2.0) for name in order]
    assert coefficients == sorted(coefficients)


def test_stain_can_be_set_and_keeps_the_metals_ratio() -> None:
    membrane = load_materials()["membrane"]
    darker = membrane.with_stain_fraction(0.3)
    assert darker.stain_fraction == pytest.approx(0.3)
    assert darker.os / darker.u == pytest.approx(membrane.os / membrane.u)
    assert darker.lipid / darker.protein == pytest.approx(membrane.lipid / membrane.protein)
    with pytest.raises(ValueError, match=r"outside 0 to 0\.5"):
        membrane.with_stain_fraction(0.6)


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match=r"sum to 0\.9"):
        Material(id=1, resin=0.9)
    with pytest.raises(ValidationError, match=r"relative standard deviation of 1\.41"):
        Material(id=1, resin=1.0, fine_grain_sd=1.0, coarse_grain_sd=1.0)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Material(id=1, resin=1.2, os=-0.2)


def test_a_material_without_composition_is_refused() -> None:
    with pytest.raises(ValidationError, match="resin"):
        MaterialTable.model_validate(
            {"source": "-", "fine_grain_nm": 20, "coarse_grain_nm": 70, "materials": {"air": {"id": 3}}}
        )


def test_fluorophore_fills_cytosol_and_has_a_source() -> None:
    table = load_materials()
    held = table.lookup("fluorophore_umol_per_l", 0.0)
    assert held[IDS["dendroplasm"]] > held[IDS["psd"]] > 0.0
    assert not held[[IDS["ecs"], IDS["membrane"], IDS["vesicle_lumen"], IDS["myelin"]]].any()
    with pytest.raises(ValidationError, match=r"axoplasm holds fluorophore, but .* is empty"):
        MaterialTable.model_validate(table.model_dump() | {"fluorophore_source": ""})


def test_ids_are_not_shared() -> None:
    pair = {"a": {"id": 3, "resin": 1}, "b": {"id": 3, "resin": 1}}
    with pytest.raises(ValidationError, match="a and b share the id 3"):
        MaterialTable.model_validate({"source": "-", "fine_grain_nm": 20, "coarse_grain_nm": 70, "materials": pair})


def test_names_and_files_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'gold'"):
        load_materials()["gold"]
    with pytest.raises(FileNotFoundError, match="stained_tissue"):
        load_materials("no_such_table")
    with pytest.raises(FileNotFoundError, match="absent"):
        load_materials(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ValueError, match="mapping"):
        load_structures(tmp_path / "list.yaml")


def test_a_table_written_and_read_is_the_same(tmp_path: Path) -> None:
    table = load_materials()
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(table.model_dump()))
    assert load_materials(path) == table


def test_cells_differ_in_their_stain_as_the_table_says() -> None:
    table = load_materials()
    axoplasm = table["axoplasm"]
    cells = {n: ["axoplasm", "membrane"] for n in range(1, 3001)}
    stains = cell_stains(table, 5, cells, np.ones(1))
    assert stains == cell_stains(table, 5, cells, np.ones(1)) != cell_stains(table, 6, cells, np.ones(1))
    os = np.array([s["axoplasm"]["os"] for s in stains.values()])
    assert os.mean() == pytest.approx(axoplasm.os, rel=0.02)
    assert os.std() / os.mean() == pytest.approx(axoplasm.between_cells_cv, rel=0.1)
    membranes = np.array([s["membrane"]["os"] for s in stains.values()])
    assert 0.5 < np.corrcoef(os, membranes)[0, 1] < 0.9  # much in common, not all
    first = stains[1]["axoplasm"]
    assert first["os"] / first["u"] == pytest.approx(axoplasm.os / axoplasm.u, rel=1e-3)


def test_a_cell_of_a_heavier_class_has_more_stain() -> None:
    table, cells = load_materials(), {1: ["axoplasm"], 2: ["axoplasm"]}
    plain = cell_stains(table, 5, cells, np.ones(1))
    heavy = cell_stains(table, 5, cells, np.array([1.0, 1.0, 2.0]))
    assert heavy[1] == plain[1]
    assert heavy[2]["axoplasm"]["pb"] == pytest.approx(2 * plain[2]["axoplasm"]["pb"], rel=0.05)

"""Build the neurons of a recipe, inside Blender or with pip's bpy.

    blender --background --python scripts/build_neurons.py -- RECIPE -o DIR
    python scripts/build_neurons.py RECIPE -o DIR

RECIPE is a YAML file:

    seed: 1
    neurons:
      - {class: cortical_pyramidal, count: 2}
      - {class: spiny_dendrite, length_um: 10}
      - {swc: cell.swc}

Each neuron becomes NAME.swc, .ply, .glb, .blend and, last, .json with its certificate.

Exit code 0: all built, all certificates hold. 2: the recipe or a file it names is wrong, or DIR cannot be
written; one sentence says why. 3: all built, but a certificate does not hold. 1: anything else, with a
traceback.
"""

from __future__ import annotations

import argparse
import os
import site
import sys
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> int:
    """Parse the command line, build, and return the exit code."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser(prog="build_neurons", description="Build the neurons of a recipe.")
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="YAML file with seed and neurons")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the files")
    options = parser.parse_args(arguments)
    reach_packages()
    from neuropil.blender_addon.neuron_recipe import build_neurons

    all_hold = True
    try:
        for neuron in build_neurons(options.recipe, options.output):
            verdict = "holds" if neuron.certificate.holds else "; ".join(neuron.certificate.failures)
            print(f"{options.output / neuron.name}: certificate: {verdict}", flush=True)
            all_hold = all_hold and neuron.certificate.holds
    except (ValueError, OSError) as mistake:
        print(f"build_neurons: {mistake}", file=sys.stderr, flush=True)
        return 2
    return 0 if all_hold else 3


def reach_packages() -> None:
    """Make the project importable within Blender, from the virtual environment beside this script or the
    active one.

    Blender's Python knows neither. `addsitedir` also runs the .pth file of an editable install, which
    PYTHONPATH does not.
    """
    try:
        import neuropil.blender_addon  # noqa: F401
    except ImportError:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        homes = [Path(os.environ["VIRTUAL_ENV"])] if "VIRTUAL_ENV" in os.environ else []
        for home in [*homes, REPOSITORY / ".venv"]:
            packages = home / "lib" / version / "site-packages"
            if packages.is_dir():
                site.addsitedir(str(packages))
                return
        print(f"build_neurons: there is no virtual environment with {version} in {REPOSITORY}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    # Blender goes on after an exception, and ends with 0: leave by hand.
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.exit(code)

# Sourced by scripts/run and scripts/test: the one way neuropil's environment is made.
# `make_environment EXTRAS` leaves a .venv with the versions of constraints.txt; a second call installs nothing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

# What the wheels of Blender, VTK and open3d expect of the system, even without a screen.
libraries=(libegl1 libgl1 libgomp1 libsm6 libusb-1.0-0 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1 libxt6)

say() { printf '%s\n' "$*" >&2; }

# The first interpreter that really runs (a pyenv shim may not) and is new enough; 3.11 and 3.13 have Blender wheels.
find_python() {
  local candidate
  for candidate in python3.11 /usr/bin/python3.11 python3.13 python3.12 python3 /usr/bin/python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  say "neuropil needs Python 3.11, 3.12 or 3.13, and none was found."
  return 1
}

# Installs the Debian packages that are missing where that is allowed; fails, saying which, where it is not.
debian_packages() {
  command -v dpkg-query >/dev/null || return 0
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ]; then
    say "Installing Debian packages: ${missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    if { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
      return 0
    fi
  fi
  say "These Debian packages are missing and could not be installed here: ${missing[*]}"
  return 1
}

make_virtual_environment() {
  if "$venv/bin/python" -c 'import pip' 2>/dev/null; then return; fi
  local python
  python=$(find_python)
  say "Making .venv with $python"
  rm -rf "$venv"
  # Debian keeps ensurepip in a package of its own (python3-venv); without it the outer pip installs the inner one.
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip
  fi
}

# The stamp is written last, so an installation that was interrupted is done again. Root is part of it because
# an editable installation points at the folder it was made from.
make_environment() {
  local extras=$1 hash stamp
  debian_packages "${libraries[@]}" || say "Going on; a missing library shows itself in the next message."
  make_virtual_environment
  hash=$({ printf '%s\n' "$root"; cat "$root/pyproject.toml" "$root/constraints.txt"; } | sha256sum | cut -d' ' -f1)
  stamp="$venv/.installed-$extras"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then return; fi
  say "Installing the Python packages of constraints.txt (once, a few minutes)"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$root/constraints.txt" -e "$root[$extras]"
  printf '%s\n' "$hash" >"$stamp"
}

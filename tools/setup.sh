#!/bin/sh
# Make the virtual environment: `sh tools/setup.sh .venv requirements.txt`.
# Python 3.11 or newer (PYTHON names one); uv if it is there, else venv and pip; then WeasyPrint's system libraries.
set -eu
venv=$1
requirements=$2

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    if [ -n "${PYTHON:-}" ]; then
        echo "error: PYTHON=$PYTHON is no Python 3.11 or newer: name another one, or leave PYTHON out" >&2
    else
        echo "error: no Python 3.11 or newer on the PATH: install one, or name it: make report PYTHON=/path/to/python3" >&2
    fi
    exit 1
fi

echo "Installing $requirements into $venv (once, some minutes)"
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --clear --python "$python" "$venv"
    install() { uv pip install --quiet --python "$venv/bin/python" -r "$requirements" "$@"; }
    # On a machine without a GPU a PyTorch without CUDA, which is 5 GB smaller; an old uv or a mirror may not know it.
    install --torch-backend=auto 2>/dev/null || install
else
    "$python" -m venv --clear "$venv" || {
        echo "error: $python cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2
        exit 1
    }
    # Twice quiet: errors, but no warnings of what the user has in pip's configuration.
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check -r "$requirements"
fi

# Without a network it fails; what is then missing is told by whoever needs it.
apt_install() { { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "$@"; } >/dev/null 2>&1 || true; }

# WeasyPrint sets text with Pango, which pip cannot install.
have_pango() { "$venv/bin/python" -c 'import weasyprint' >/dev/null 2>&1; }
if ! have_pango; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing Pango for WeasyPrint"
        apt_install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0
    fi
    have_pango || {
        echo "error: WeasyPrint needs Pango, which is not on this machine. Install it, then run the same command again:" >&2
        echo "  Debian, Ubuntu:  apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" >&2
        echo "  Fedora:          dnf install pango" >&2
        echo "  macOS:           brew install pango" >&2
        exit 1
    }
fi

# The tests use the HTML report in a browser; without one they are skipped and say so.
have_chromium() {
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    [ -n "${CHROMIUM:-}" ]
}
if ! have_chromium && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the tests of the HTML report"
    apt_install chromium
fi
have_chromium || echo "No Chromium: the tests of the HTML report in a browser will be skipped (Debian: apt-get install chromium)"
touch "$venv/.installed"

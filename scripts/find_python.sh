#!/bin/sh
# Print the path of a Python 3.11, the one that requirements.lock is for.
#
#     scripts/find_python.sh [PYTHON]
#
# A given one is taken or refused. Otherwise the usual names are tried, then conda's, pyenv's and uv's,
# which fetches one if it has none.

is_right() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

if [ "${1:-}" ]; then
    is_right "$1" && command -v "$1" && exit
    echo "error: $1 is not Python 3.11 (found: $("$1" --version 2>&1))" >&2
    exit 1
fi

for name in python3.11 python3 python "${CONDA_PREFIX:-}/bin/python" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11*/bin/python; do
    is_right "$name" && command -v "$name" && exit
done

if command -v uv >/dev/null; then
    uv python find --quiet --system 3.11 2>/dev/null && exit
    uv python install 3.11 >&2 && exec uv python find --system 3.11
fi

cat >&2 <<END
error: no Python 3.11 here, and requirements.lock is for 3.11 (found: $(python3 --version 2>&1)). One of
  apt-get install python3 python3-venv                          (Debian 12)
  conda create --name bnblind python=3.11 && conda activate bnblind
  pyenv install 3.11
  uv python install 3.11
brings it, then run make again; make PYTHON=/path/to/python3.11 takes any other.
END
exit 1

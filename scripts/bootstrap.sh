#!/usr/bin/env bash
# Makes .venv ready. A second run costs nothing: a stamp remembers what was installed.
#
#   scripts/bootstrap.sh runtime   the project and what it needs to run        (make demo)
#   scripts/bootstrap.sh dev       all of requirements-dev.lock, and the project (everything else; the default)
#
# PYTHON=/path/to/python3 chooses the interpreter; without it, the newest python3 from 3.11 on that works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:-dev}
venv=.venv
lock=requirements-dev.lock

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case $profile in
    runtime | dev) ;;
    *) die "unknown profile '$profile'; use 'runtime' or 'dev'" ;;
esac

# Two makes in one checkout must not install into the same .venv at once.
if command -v flock >/dev/null; then
    exec 9>.bootstrap.lock
    flock 9
fi

# A .venv serves where it was made (it does not survive being moved), with the interpreter asked for, if one was.
home="$PWD ${PYTHON:-$(cat "$venv/.stamp-python" 2>/dev/null || true)}"
usable() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp-home" 2>/dev/null)" = "$home" ]; }

# What is installed in it depends on these alone; sources are editable.
wanted=$(cat pyproject.toml "$lock" scripts/bootstrap.sh | cksum)
stamped() { [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$wanted" ]; }
if usable && { stamped "$profile" || stamped dev; }; then
    exit 0
fi

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        recent_enough "$PYTHON" || die "PYTHON=$PYTHON does not run, or is older than 3.11"
        command -v "$PYTHON"
        return
    fi
    # By running each: a name on the PATH may be the shim of a version manager with nothing behind it.
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if recent_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 or newer found; install one (Debian, Ubuntu: apt-get install python3 python3-venv) or set PYTHON"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

ensure_venv_module() {
    local python=$1 package
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    # Debian and Ubuntu ship ensurepip apart from python3, one package for each version.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null || die "$python has no ensurepip; install your system's package for it"
    say "installing $package"
    { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"; } \
        </dev/null >&2 || die "could not install $package; as root: apt-get install $package"
}

if ! { usable && "$venv/bin/python" -c ''; } 2>/dev/null; then
    python=$(find_python)
    ensure_venv_module "$python"
    say "creating $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    printf '%s' "${PYTHON:-$python}" >"$venv/.stamp-python"
    printf '%s' "$PWD ${PYTHON:-$python}" >"$venv/.stamp-home"
fi

install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@" 9>&- </dev/null >&2; }

say "installing ($profile)"
if [ "$profile" = dev ]; then
    install -r "$lock"
    install --no-deps --no-build-isolation -e .
else
    install -c "$lock" -e .
fi
printf '%s\n' "$wanted" >"$venv/.stamp-$profile"

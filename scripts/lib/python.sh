# The virtual environment: every Python package at the release and hash that requirements/*.txt lock. Sourced.
#
#   requirements/build.txt -> tools (an old setuptools, for Ryu's build recipe)
#   requirements/X.txt     -> pip wheel: fetch, compare hashes, build what PyPI has only as source
#                          -> pip install of exactly these files -> installed/X, the stamp, written last
#
# Invariant: a package set counts only when its stamp is there. An environment without installed/minipod is
# half-made and is made anew; a virtual environment cannot be moved, so it is built in the place where it stays.
# Each X stands for itself: one that fails takes only its own purpose along.

# What each package set is for, and whether set-up stops without it.
package_sets() {
    printf '%s\n' 'minipod core nothing here runs' \
        'test wanted scripts/test and scripts/check do not run' \
        'notebook wanted the notebooks do not open, and their tests do not run' \
        'ryu wanted the software-defined network has no controller'
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input -q "$@"; }

make_venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON: $("$PYTHON" --version): want 3.11 or newer: use Debian 12, 13 or Ubuntu 24.04"
    say "making the virtual environment $VENV"
    rm -rf "$VENV"
    logged "$SCRATCH/venv.log" "$PYTHON" -m venv "$VENV" || fail "$VENV: not made: see the lines above"
    mkdir "$VENV/installed"
}

# Fetch, build and install the package set $1.
install_set() {
    local locks=$CHECKOUT/requirements wheels=$SCRATCH/wheels-$1
    [ -d "$SCRATCH/tools" ] || logged "$SCRATCH/pip.log" \
        pip install --require-hashes --no-deps --target "$SCRATCH/tools" -r "$locks/build.txt" || return 1
    PYTHONPATH=$SCRATCH/tools logged "$SCRATCH/pip.log" \
        pip wheel --require-hashes --no-deps --no-build-isolation -w "$wheels" -r "$locks/$1.txt" || return 1
    logged "$SCRATCH/pip.log" pip install --no-index --no-deps "$wheels"/*.whl || return 1
    [ "$1" != ryu ] || logged "$SCRATCH/ryu.log" \
        "$VENV/bin/python" -P "$CHECKOUT/topo/ryu_launcher.py" --version || return 1
    touch "$VENV/installed/$1"
}

# Make whatever is missing of the environment.
setup_python() {
    local name need lost count
    [ -n "$(missing_sets)" ] || return 0
    if ! is_root && [[ $VENV == "$SHARED"/* ]]; then
        warn "$VENV: lacks: $(missing_sets | cut -d' ' -f1 | xargs): root's scripts/setup completes it"
        return
    fi
    [ -e "$VENV/installed/minipod" ] || make_venv
    missing_sets | while read -r name need lost; do
        count=$(grep -c '==' "$CHECKOUT/requirements/$name.txt")
        say "installing $count Python packages: $name"
        install_set "$name" </dev/null && continue
        warn "Python packages of requirements/$name.txt are not installed: without them: $lost"
        [ "$need" != core ] || fail "no Minipod without these: mend what the lines above name, then call scripts/setup again"
    done
}

# The rows of package_sets that have no stamp.
missing_sets() {
    local name rest
    package_sets | while read -r name rest; do
        [ -e "$VENV/installed/$name" ] || printf '%s %s\n' "$name" "$rest"
    done
}

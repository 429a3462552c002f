# What every script here shares: where things are, and how to speak. Sourced, never run.
#
#   $CHECKOUT   this clone            $PYTHON   the distribution's interpreter
#   venv_path   the virtual environment of this clone's locks, in $SHARED (made by root) or in $OWN (this user's)
#
# The environment's name is a hash of the locks and of the Python release, so clones with equal locks share one,
# and a clone whose locks change gets a new one; a half-made one is never used (see python.sh).

set -euo pipefail
export LC_ALL=C.UTF-8
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # an ordinary user's PATH lacks nft, haproxy and modprobe
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
SHARED=/opt/minipod
OWN=${XDG_DATA_HOME:-$HOME/.local/share}/minipod
PYTHON=/usr/bin/python3 # everybody can execute it; an interpreter under somebody's home they could not

say() { printf 'set-up: %s\n' "$*"; }
warn() { printf 'set-up: %s\n' "$*" >&2; }
# One line: place, fact, next step. 2 is "bad usage or input" of every command here.
fail() { warn "$*"; exit 2; }

is_root() { [ "$(id -u)" = 0 ]; }

# The rows of a table file, without comments and empty lines.
rows() { grep -Ev '^[[:space:]]*(#|$)' "$1"; }

# Run a command with its output in the file $1; when it fails, show the end of that and return its status.
logged() {
    local log=$1 status=0
    shift
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || tail -n 8 "$log" | sed 's/^/    /' >&2
    return "$status"
}

venv_name() {
    local locks
    locks=$(grep -hv "^#" "$CHECKOUT"/requirements/*.txt | sha256sum)
    printf 'venv-%s-%s\n' "$(basename "$(readlink -f "$PYTHON")")" "${locks:0:12}"
}

# The environment that everybody on this machine can use, or else this user's own. It need not exist yet.
venv_path() {
    local name
    name=$(venv_name)
    if is_root || [ -e "$SHARED/$name/installed/minipod" ]; then
        printf '%s/%s\n' "$SHARED" "$name"
    else
        printf '%s/%s\n' "$OWN" "$name"
    fi
}

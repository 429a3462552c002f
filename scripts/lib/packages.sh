# Debian packages: install what scripts/packages.txt names and the machine lacks. Sourced by scripts/setup.
#
#   packages.txt -> missing_packages -> apt-get, all at once -> what is still missing, one by one -> what is lost
#
# Invariant: no service is started and none is left to start at the next boot by what is installed here. While apt
# runs, /usr/sbin/policy-rc.d (Debian policy 9.3.3.1; invoke-rc.d(8)) says no to every start; it is put back
# afterwards, also after an interruption, and what a `kill -9` leaves is made good by the next call.

PACKAGES=$CHECKOUT/scripts/packages.txt
POLICY=/usr/sbin/policy-rc.d
TESTS=${TESTS:-no} # "yes": also what only tests need
PENDING=$SHARED/services-to-switch-off # there only while packages are being installed
APT=(apt-get -y -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2)

installed_packages() { dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^.i //p'; }

# The rows of packages.txt of which no alternative is installed; those for tests only when they are asked for.
missing_packages() {
    local installed names need rest name
    installed=$'\n'$(installed_packages)$'\n'
    rows "$PACKAGES" | while read -r names need rest; do
        [ "$need" != test ] || [ "$TESTS" = yes ] || continue
        for name in ${names//|/ }; do
            [[ $installed == *$'\n'"$name"$'\n'* ]] && continue 2
        done
        printf '%s %s %s\n' "$names" "$need" "$rest"
    done
}

# The first of the alternatives $1 (a|b) that apt can install; nothing when there is none.
available_package() {
    local name
    for name in ${1//|/ }; do
        if apt-cache policy "$name" | grep 'Candidate: [^(]' >/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
}

forbid_service_starts() {
    permit_service_starts # what an earlier call that was killed left behind
    [ ! -e "$POLICY" ] || mv "$POLICY" "$POLICY.before-minipod"
    printf '#!/bin/sh\n# minipod set-up is installing packages and wants no service started.\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

permit_service_starts() {
    if grep -qs 'minipod set-up' "$POLICY"; then rm -f "$POLICY"; fi
    if [ -e "$POLICY.before-minipod" ]; then mv "$POLICY.before-minipod" "$POLICY"; fi
}

# Install the packages named, showing each as it is set up. The last lines of a failure are shown by logged().
apt_install() {
    DEBIAN_FRONTEND=noninteractive "${APT[@]}" install --no-install-recommends "$@" 2>&1 |
        tee "$SCRATCH/apt.log" | sed -un 's/^Setting up \([^ ]*\) (\(.*\)).*/    \1 \2/p'
}

# Keep the services that come with the packages of the rows $1 from starting at the next boot.
plan_to_switch_off() {
    local names need service lost
    mkdir -p "$(dirname "$PENDING")"
    while read -r names need service lost; do
        [ "$service" = - ] || printf '%s\n' "$service"
    done <<<"$1" >"$PENDING"
}

switch_off_what_is_planned() {
    local service
    [ -e "$PENDING" ] || return 0
    while read -r service; do
        deb-systemd-helper disable "$service.service" >/dev/null 2>&1 || true
        [ ! -e "/etc/init.d/$service" ] || update-rc.d "$service" disable >/dev/null 2>&1 || true
    done <"$PENDING"
    rm -f "$PENDING"
}

# Ask for the lists of packages; false when a server did not answer.
update_lists() {
    say "asking the distribution for its package lists"
    logged "$SCRATCH/apt.log" dpkg --configure -a || true # an interrupted installation blocks every other
    logged "$SCRATCH/apt.log" "${APT[@]}" -o APT::Update::Error-Mode=any update
}

# Install the packages named. What apt refuses in one go is tried one by one, unless the servers are away ($1).
install_packages() {
    local servers=$1 name
    shift
    say "installing $# Debian packages and what they need: $*"
    apt_install "$@" && return
    grep '^E:' "$SCRATCH/apt.log" | tail -n 2 | sed 's/^/    /' >&2
    [ "$servers" = answer ] || return 0
    warn "apt-get could not install them together: trying one by one"
    for name in "$@"; do
        apt_install "$name" || warn "$name: $(grep '^E:' "$SCRATCH/apt.log" | tail -n 1)"
    done
}

# Install what the rows $1 of packages.txt name, as far as that is possible.
install_missing() {
    local names need service lost name wanted=() servers=answer
    forbid_service_starts
    plan_to_switch_off "$1"
    update_lists || {
        servers=away
        warn "apt-get update failed: trying the lists that are here; are the network and the package sources right?"
    }
    while read -r names need service lost; do
        name=$(available_package "$names")
        [ -z "$name" ] || wanted+=("$name")
    done <<<"$1"
    [ "${#wanted[@]}" = 0 ] || install_packages "$servers" "${wanted[@]}"
    switch_off_what_is_planned
    permit_service_starts
}

# Say what the rows $1 of packages.txt cost; stop when one of them is core.
report_missing() {
    local names need service lost core='' next="mend what apt-get says above and call scripts/setup again"
    is_root || next="let root, or somebody with sudo, call scripts/setup once"
    while read -r names need service lost; do
        warn "package ${names//|/ or } is not installed: without it: $lost"
        [ "$need" != core ] || core+=" ${names%%|*}"
    done <<<"$1"
    [ -z "$core" ] || fail "Minipod cannot run without:$core: $next"
}

setup_packages() {
    local missing
    command -v apt-get >/dev/null || fail "no apt-get here: Minipod is set up on Debian 12, 13 and Ubuntu 24.04"
    if is_root; then switch_off_what_is_planned; fi # an earlier call may have been killed before it could
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if is_root; then
        install_missing "$missing"
        missing=$(missing_packages)
    fi
    [ -z "$missing" ] || report_missing "$missing"
}

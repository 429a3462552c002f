# The kernel: modules that only root can load, and the right of ordinary users to make a sandbox. Sourced by
# scripts/setup; needs root, says so where it has none, and never stops the set-up: `minipod up` tests what works.
#
# Invariant: a setting is written only where its value is wrong, and every change is kept for the next boot in a
# file of Minipod's own, so that removing two files undoes it:
#   /etc/modules-load.d/minipod.conf (modules-load.d(5))   /etc/sysctl.d/60-minipod.conf (sysctl.d(5))

MODULES=$CHECKOUT/scripts/modules.txt
MODULE_FOLDER=/lib/modules/$(uname -r)
MODULES_LOAD=/etc/modules-load.d/minipod.conf
SYSCTLS=/proc/sys
SYSCTL_FILE=/etc/sysctl.d/60-minipod.conf

# Settings that forbid unprivileged user namespaces: name, the value that forbids, the value that permits.
#   Ubuntu 24.04's AppArmor; Debian's own patch; the limit that every kernel has (user_namespaces(7)).
userns_settings() {
    printf '%s\n' 'kernel.apparmor_restrict_unprivileged_userns 1 0' \
        'kernel.unprivileged_userns_clone 0 1' \
        'user.max_user_namespaces 0 15000'
}

# The settings that are wrong here, as lines of sysctl.conf(5).
wrong_settings() {
    local key forbids permits file
    userns_settings | while read -r key forbids permits; do
        file=$SYSCTLS/${key//.//}
        if [ -r "$file" ] && [ "$(cat "$file")" = "$forbids" ]; then printf '%s = %s\n' "$key" "$permits"; fi
    done
}

# The modules of modules.txt that are not in the kernel yet. One list of names, for a call costs time.
absent_modules() {
    local known
    known=$(sed 's|.*/||; s|\.ko.*||' "$MODULE_FOLDER/modules.builtin" 2>/dev/null | tr - _ || true)
    known=$'\n'"$known"$'\n'$(ls /sys/module 2>/dev/null || true)$'\n'
    rows "$MODULES" | while read -r name _; do
        [[ $known == *$'\n'"$name"$'\n'* ]] || printf '%s\n' "$name"
    done
}

load_modules() {
    local name failed=
    if [ ! -e "$MODULE_FOLDER/modules.dep" ]; then
        say "this kernel has no modules to load (a container, or all is built in): minipod up tests what it needs"
        return
    fi
    for name in $(absent_modules); do
        modprobe -q "$name" 2>/dev/null || failed+=" $name"
    done
    for name in $failed; do
        warn "kernel module $name does not load: without it: $(sed -n "s/^$name  *//p" "$MODULES")"
    done
    keep "$MODULES_LOAD" "$(rows "$MODULES" | while read -r name _; do
        [[ " $failed " == *" $name "* ]] || printf '%s\n' "$name"
    done)"
}

# Write the lines $2 to the file $1 unless they are there.
keep() {
    local text
    text=$(printf '# Written by Minipod (scripts/setup).\n%s' "$2")
    if [ "$text" != "$(cat "$1" 2>/dev/null)" ]; then
        { mkdir -p "$(dirname "$1")" && printf '%s\n' "$text" >"$1"; } 2>/dev/null ||
            warn "$1 cannot be written: the next boot needs scripts/setup again"
    fi
}

permit_user_namespaces() {
    local wrong key value
    wrong=$(wrong_settings)
    [ -n "$wrong" ] || return 0
    say "letting ordinary users make sandboxes: ${wrong//$'\n'/, } (kept in $SYSCTL_FILE)"
    while read -r key _ value; do
        { printf '%s\n' "$value" >"$SYSCTLS/${key//.//}"; } 2>/dev/null ||
            warn "$key: cannot be set to $value here: ordinary users cannot start labs"
    done <<<"$wrong"
    keep "$SYSCTL_FILE" "$({ grep -v '^#' "$SYSCTL_FILE" 2>/dev/null; printf '%s\n' "$wrong"; } | sort -u)"
}

# True when root could still improve something.
kernel_needs_root() {
    [ -n "$(wrong_settings)" ] || { [ -e "$MODULE_FOLDER/modules.dep" ] && [ ! -e "$MODULES_LOAD" ]; }
}

setup_kernel() {
    if is_root; then
        load_modules
        permit_user_namespaces
    elif kernel_needs_root; then
        warn "kernel modules and settings are left as they are: not root; minipod up says what is lacking"
    fi
}

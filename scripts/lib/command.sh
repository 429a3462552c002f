# The command `minipod` on the PATH: two lines of shell that call this clone's scripts/minipod. Sourced.
# The clone that was set up last owns it; every clone's own scripts/minipod always runs that clone.

setup_command() {
    local folder=$HOME/.local/bin text
    if is_root; then folder=/usr/local/bin; fi
    text=$(printf '#!/bin/sh\n# Written by scripts/setup.\nexec "%s/scripts/minipod" "$@"' "$CHECKOUT")
    if ! is_root && [ "$text" = "$(cat /usr/local/bin/minipod 2>/dev/null)" ]; then
        return # root has already put this clone's command where everybody finds it
    fi
    if [ "$text" != "$(cat "$folder/minipod" 2>/dev/null)" ]; then
        mkdir -p "$folder"
        printf '%s\n' "$text" >"$folder/.minipod.new"
        chmod 755 "$folder/.minipod.new"
        mv "$folder/.minipod.new" "$folder/minipod"
        say "the command minipod is $folder/minipod, for the clone $CHECKOUT"
    fi
    case ":$PATH:" in
    *":$folder:"*) ;;
    *) say "$folder is not on your PATH: add it, or call $CHECKOUT/scripts/minipod" ;;
    esac
}

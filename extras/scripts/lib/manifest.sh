# shellcheck shell=bash
# Manifests: for each installed service, the paths that belong to it, one a line, sorted; directories end in `/`. What stands
# in several goes with the last of them.

INSTALLED=()                # the keys of what is installed
declare -A OWNED_BEFORE=()  # for each path the keys of those that it belongs to

load_manifests() {
    local file key path
    INSTALLED=()
    OWNED_BEFORE=()
    for file in "$ROOT$MANIFESTS"/*; do
        [ -f "$file" ] || continue
        key=${file##*/}
        [[ $key =~ ^(manager|worker|worker@[a-z0-9-]+)$ ]] || continue
        INSTALLED+=("$key")
        while IFS= read -r path; do
            is_plain_path "${path%/}" || die "the manifest $file is damaged: '$path'"
            OWNED_BEFORE[$path]+=" $key"
        done <"$file"
    done
}

is_installed() {
    [ -f "$ROOT$MANIFESTS/$1" ]
}

# The installed services of a component, a line each.
installed_of() {
    local key
    for key in "${INSTALLED[@]}"; do
        [ "$(component_of "$key")" != "$1" ] || say "$key"
    done
}

# write_manifest KEY SCRATCH, of all that is OWNED and isn't another key's own unit.
write_manifest() {
    local key=$1 scratch=$2 path directory
    local -A paths=()
    for path in "${!OWNED[@]}"; do
        if [ "$key" != worker ] && [ "$path" = "$UNITS/$(unit_of worker)" ]; then
            continue
        fi
        paths[$path]=1
        directory=${path%/*}
        while [ -n "$directory" ]; do
            if [ -n "${CREATED_DIRECTORIES[$directory]:-}" ] || [ -n "${OWNED_BEFORE[$directory/]:-}" ]; then
                paths[$directory/]=1
            fi
            directory=${directory%/*}
        done
    done
    printf '%s\n' "${!paths[@]}" | LC_ALL=C sort >"$scratch"
    # What it had and has no more. Others of the same component get their own new manifest.
    for path in "${!OWNED_BEFORE[@]}"; do
        if [[ $path != */ && " ${OWNED_BEFORE[$path]} " == *" $key "* ]] && [ -z "${OWNED[$path]:-}" ] &&
            ! is_of_another_component "$path" "$key"; then
            drop_file "$path"
        fi
    done
    put_file "$scratch" "$MANIFESTS/$key" 0644 "$(root_or_user)"
    unset 'OWNED[$MANIFESTS/$key]'
}

is_of_another_component() {
    local key
    for key in ${OWNED_BEFORE[$1]}; do
        [ "$(component_of "$key")" = "$(component_of "$2")" ] || return 0
    done
    return 1
}

# Removes what belongs to a key and to nobody else, then what is empty of its directories. Can be repeated, wherever it was
# interrupted: what the next run needs goes last. Those are the scripts, then the link by which another prefix is found, and the
# manifest.
remove_by_manifest() {
    local key=$1 path paths=() files=() scripts=() link=$COMMANDS/task-messenger-service last=()
    mapfile -t paths <"$ROOT$MANIFESTS/$key"
    for path in "${paths[@]}"; do
        if [[ $path == */ || ${OWNED_BEFORE[$path]} != " $key" ]]; then
            continue
        fi
        case $path in
            "$link") last=("$path") ;;
            "$PREFIX"/scripts/*) scripts+=("$path") ;;
            *) files+=("$path") ;;
        esac
    done
    for path in "${files[@]}" "${scripts[@]}"; do
        remove_file "$path"
        # What an upgrade put aside because it was edited.
        [ "$PURGE" = 0 ] || remove_file "$path.bak"
    done
    [ "$DRY_RUN" = 1 ] || remove_empty "${paths[@]}"
    for path in "${last[@]}"; do
        remove_file "$path"
    done
    if [ "$DRY_RUN" = 0 ]; then
        must rm -f -- "$ROOT$MANIFESTS/$key"
        rmdir -- "$ROOT$MANIFESTS" 2>/dev/null || true
        remove_empty "${paths[@]}"
    fi
    for path in "${!OWNED_BEFORE[@]}"; do
        OWNED_BEFORE[$path]=$(without "$key" "${OWNED_BEFORE[$path]}")
        [ -n "${OWNED_BEFORE[$path]}" ] || unset 'OWNED_BEFORE[$path]'
    done
}

# Of the paths of a manifest the directories that are empty. Those that were there before the installation are in none.
remove_empty() {
    local -a sorted=("$@")
    local index
    # What lies deeper stands behind.
    for ((index = ${#sorted[@]} - 1; index >= 0; index--)); do
        if [[ ${sorted[index]} == */ ]]; then
            rmdir -- "$ROOT${sorted[index]}" 2>/dev/null || true
        fi
    done
}

remove_file() {
    [ -e "$ROOT$1" ] || [ -L "$ROOT$1" ] || return 0
    step "remove $1"
    [ "$DRY_RUN" = 1 ] || must rm -f -- "$ROOT$1"
}

# without KEY LIST: the list (a space before each entry) without the key.
without() {
    local entry left=""
    for entry in $2; do
        [ "$entry" = "$1" ] || left+=" $entry"
    done
    printf '%s' "$left"
}

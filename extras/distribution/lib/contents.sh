# shellcheck shell=bash
# Reads the list of contents.

# The list's lines, each with the eight columns of extras/distribution/contents; a * in them is expanded.
ENTRIES=()

# load_contents LIST linux|windows. The list for Windows has five of the columns: no modes, and nothing of packages.
load_contents() {
    local list=$1 platform=$2 number=0 line component when kind source archive more
    ENTRIES=()
    [ -f "$list" ] || die "there is no list of contents: $list"
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        if [[ $line =~ ^[[:space:]]*(#|$) ]]; then
            continue
        fi
        if [ "$platform" = windows ]; then
            read -r component when kind source archive more <<<"$line"
            if [ -z "$archive" ] || [ -n "$more" ]; then
                die "$list:$number: there must be five columns"
            fi
            line="$component $when $kind 0644 $source $archive - -"
        fi
        load_entry "$list:$number" "$line"
    done <"$list"
    refuse_places_of_two
}

load_entry() {
    local where=$1 component when kind mode source archive package packaged more
    read -r component when kind mode source archive package packaged more <<<"$2"
    if [ -z "$packaged" ] || [ -n "$more" ]; then
        die "$where: there must be eight columns"
    fi
    [[ $component =~ ^(manager|worker|both|-)$ ]] || die "$where: no component: $component"
    [[ $when =~ ^(always|service)$ ]] || die "$where: neither always nor service: $when"
    [[ $kind =~ ^(program|generated|printed|file|adapted|link)$ ]] || die "$where: no kind: $kind"
    [[ $mode =~ ^0[0-7]{3}$ ]] || die "$where: no mode: $mode"
    [[ $package =~ ^(common|manager|worker|-)$ ]] || die "$where: no package: $package"
    [[ $archive =~ ^(-|[A-Za-z0-9._@/+-]+)$ && $archive != /* && /$archive/ != */../* ]] ||
        die "$where: no place in an archive: $archive"
    [[ $packaged =~ ^(-|/[A-Za-z0-9._@/+-]+)$ && $packaged/ != */../* ]] || die "$where: no place in a package: $packaged"
    if { [ "$component" = - ] && [ "$archive" != - ]; } || { [ "$component" != - ] && [ "$archive" = - ]; } ||
        { [ "$package" = - ] && [ "$packaged" != - ]; } || { [ "$package" != - ] && [ "$packaged" = - ]; }; then
        die "$where: a place needs somebody who has it, and the other way round"
    fi
    if [ "$kind" = link ] && [ "$archive" != - ]; then
        die "$where: archives have no links"
    fi
    if [[ $source == *\** ]]; then
        expand_entry "$where" "$component" "$when" "$kind" "$mode" "$source" "$archive" "$package" "$packaged"
    else
        [[ $archive != */ && $packaged != */ ]] || die "$where: only with a * in the source may a place end in /"
        ENTRIES+=("$component $when $kind $mode $source $archive $package $packaged")
    fi
}

# An entry for each file that a * stands for. If there is none the entry stays as it is, and is missed when it is wanted.
expand_entry() {
    local where=$1 component=$2 when=$3 kind=$4 mode=$5 source=$6 archive=$7 package=$8 packaged=$9 path name found=0
    [[ $kind =~ ^(file|adapted)$ && ${source%/*} != *\** && $archive =~ (^-|/)$ && $packaged =~ (^-|/)$ ]] ||
        die "$where: a * stands only in a file's name, and then places end in /"
    for path in "$CHECKOUT/${source%/*}"/${source##*/}; do
        [ -f "$path" ] || continue
        found=1
        name=${path##*/}
        ENTRIES+=("$component $when $kind $mode ${source%/*}/$name ${archive/%\//\/$name} $package ${packaged/%\//\/$name}")
    done
    if [ "$found" = 0 ]; then
        ENTRIES+=("$component $when $kind $mode $source ${archive/%\//\/missing} $package ${packaged/%\//\/missing}")
    fi
}

refuse_places_of_two() {
    local entry component when kind mode source archive package packaged name
    local -A taken=()
    for entry in "${ENTRIES[@]}"; do
        read -r component when kind mode source archive package packaged <<<"$entry"
        for name in manager worker; do
            if [[ $archive != - && $component =~ ^($name|both)$ ]]; then
                [ -z "${taken[$name $archive]:-}" ] || die "two entries of the list for $archive in the archive of $name"
                taken[$name $archive]=$source
            fi
        done
        if [ "$packaged" != - ]; then
            [ -z "${taken[$packaged]:-}" ] || die "two entries of the list for $packaged"
            taken[$packaged]=$source
        fi
    done
}

# The entries of an archive as `KIND MODE SOURCE PLACE`, without what is of a service unless SERVICE is 1.
entries_of_archive() {
    local entry component when kind mode source archive package packaged
    for entry in "${ENTRIES[@]}"; do
        # shellcheck disable=SC2034 # two columns are not needed
        read -r component when kind mode source archive package packaged <<<"$entry"
        if [[ $component =~ ^($1|both)$ && ( $when = always || $SERVICE = 1 ) ]]; then
            printf '%s %s %s %s\n' "$kind" "$mode" "$source" "$archive"
        fi
    done
}

# The entries of a package in the same form.
entries_of_package() {
    local entry component when kind mode source archive package packaged
    for entry in "${ENTRIES[@]}"; do
        # shellcheck disable=SC2034 # three columns are not needed
        read -r component when kind mode source archive package packaged <<<"$entry"
        [ "$package" != "$1" ] || printf '%s %s %s %s\n' "$kind" "$mode" "$source" "$packaged"
    done
}

# Ends with the names of all that the list wants, and that isn't there. Takes such entries on standard input.
refuse_what_is_missing() {
    local kind mode source place missing=()
    # shellcheck disable=SC2034
    while read -r kind mode source place; do
        if [[ $kind =~ ^(printed|file|adapted)$ && ! -f $CHECKOUT/$source && " ${missing[*]-} " != *" $source "* ]]; then
            missing+=("$source")
        fi
    done
    if [ ${#missing[@]} -gt 0 ]; then
        warn "the list of contents names what is not there:"
        printf '    %s\n' "${missing[@]}" >&2
        exit 1
    fi
}

# put_entry KIND MODE SOURCE DESTINATION: makes one file.
put_entry() {
    local kind=$1 mode=$2 source=$3 destination=$4
    if [ "$kind" = link ]; then
        { mkdir -p "${destination%/*}" && ln -s -- "$source" "$destination"; } || die "could not make $destination"
        return
    fi
    case $kind in
        program) source=$PROGRAMS/$source ;;
        generated | printed) source=$GENERATED/$source ;;
        file | adapted) source=$CHECKOUT/$source ;;
    esac
    install -D -m "$mode" -- "$source" "$destination" || die "could not make $destination"
}

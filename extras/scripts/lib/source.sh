# shellcheck shell=bash
# shellcheck disable=SC2034 # these variables are for whoever sources this
# What is installed, and where it comes from: an unpacked archive, a checkout with built programs, or what is installed
# already (for one more worker on the same machine).

SOURCE_KIND=""
SOURCE_TOP=""
FILES=()                    # paths as in the archive
declare -A FILE_SOURCE=()   # where each of them is
declare -A FILE_MODE=()

find_source() {
    local component=$1 top=${SCRIPT_DIRECTORY%/*}
    if [ -f "$top/CONTENTS" ]; then
        SOURCE_KIND=archive SOURCE_TOP=$top
        read_contents "$top/CONTENTS" "$component"
        verify_archive
    elif [ -f "$top/distribution/contents" ] && [ -f "${top%/*}/Cargo.toml" ]; then
        SOURCE_KIND=checkout SOURCE_TOP=${top%/*}
        read_checkout "$component"
    elif [ -d "$top/manifests" ] && [ "$top" -ef "$ROOT$PREFIX" ]; then
        SOURCE_KIND=installed SOURCE_TOP=$top
        [ -f "$top/share/contents/$component" ] ||
            die "this is an installation without the $component: unpack the archive of the $component and run its script"
        read_contents "$top/share/contents/$component" "$component"
    else
        die "there is nothing to install beside this script: run the one of an unpacked archive or of a checkout"
    fi
    require_files "$component"
}

add_file() {
    FILES+=("$1")
    FILE_MODE[$1]=$2
    FILE_SOURCE[$1]=$3
}

# Lines `sha256  mode  path`.
read_contents() {
    local list=$1 component=$2 sum mode path rest source
    while read -r sum mode path rest; do
        if ! [[ $sum =~ ^[0-9a-f]{64}$ && $mode =~ ^[0-7]{3,6}$ && -z $rest ]] || ! is_plain_path "/$path"; then
            die "the archive is damaged: $list has the line '$sum $mode $path $rest'"
        fi
        source=$SOURCE_TOP/$path
        if [ "$SOURCE_KIND" = installed ]; then
            place_below_prefix "$path" "$component"
            source=$ROOT$PLACE
        fi
        # Of a mode, only what `chmod` may set for a file here.
        add_file "$path" "0$((8#$mode & 8#111 ? 755 : 644))" "$source"
    done <"$list"
    add_file CONTENTS 0644 "$list"
}

verify_archive() {
    local path output
    for path in "${FILES[@]}"; do
        [ -f "$SOURCE_TOP/$path" ] && [ ! -L "$SOURCE_TOP/$path" ] || die "the archive is damaged: $path is missing"
    done
    output=$(awk '{ print $1 "  " $3 }' "$SOURCE_TOP/CONTENTS" |
        (cd "$SOURCE_TOP" && sha256sum --quiet --strict --check - 2>&1)) ||
        die "the archive is damaged; unpack it again, or fetch it again. $output"
}

read_checkout() {
    local component=$1 owner kind mode source archive file
    local release=$SOURCE_TOP/target/release
    for file in task-messenger "task-messenger-$component"; do
        [ -x "$release/$file" ] ||
            die "target/release/$file is missing: build it first, as yourself, with \`cargo build --release --workspace\`"
    done
    while read -r owner _ kind mode source archive _; do
        [[ $owner == "$component" || $owner == both ]] && [ "$archive" != - ] || continue
        case $kind in
            program) add_file "$archive" "$mode" "$release/$source" ;;
            generated)
                file=$SCRATCH/${archive//\//_}
                # Nobody needs these to run a service.
                if run_program "$release/${source%%:*}" generate "${source#*:}" >"$file" 2>/dev/null && [ -s "$file" ]; then
                    add_file "$archive" "$mode" "$file"
                fi
                ;;
            # For whoever gets the programs from somebody else: these were built here.
            printed) ;;
            file | adapted)
                for file in "$SOURCE_TOP"/$source; do
                    [ -f "$file" ] || die "the checkout lacks $source"
                    if [[ $archive == */ ]]; then
                        add_file "$archive${file##*/}" "$mode" "$file"
                    else
                        add_file "$archive" "$mode" "$file"
                    fi
                done
                ;;
        esac
    done < <(grep -v '^#' "$SOURCE_TOP/extras/distribution/contents")
    for file in "${FILES[@]}"; do
        printf '%s  %s  %s\n' "$(sha256sum <"${FILE_SOURCE[$file]}" | cut -d ' ' -f 1)" "${FILE_MODE[$file]}" "$file"
    done | LC_ALL=C sort -k 3 >"$SCRATCH/CONTENTS"
    add_file CONTENTS 0644 "$SCRATCH/CONTENTS"
}

require_files() {
    local component=$1 path other=manager
    [ "$component" = worker ] || other=worker
    if [ -z "${FILE_SOURCE[bin/task-messenger-$component]:-}" ] && [ -n "${FILE_SOURCE[bin/task-messenger-$other]:-}" ]; then
        die "this is the archive of the $other: take the one of the $component"
    fi
    if [ -z "${FILE_SOURCE[share/systemd/task-messenger-$component.service]:-}" ]; then
        die "there are no service files here: the archive was built without them (--no-service)"
    fi
    for path in bin/task-messenger "bin/task-messenger-$component" "etc/task-messenger/config-$component.json" \
        "share/systemd/user/task-messenger-$component.service" "share/systemd/sysusers.d/task-messenger-$component.conf" \
        scripts/service_control.sh scripts/uninstall_service_linux.sh; do
        [ -n "${FILE_SOURCE[$path]:-}" ] || die "the archive is damaged: $path is missing"
    done
}

# Whether this machine can run it: what it was built for, then by trying.
check_program() {
    local file=$1 machine wanted=unknown output
    machine=$(uname -m)
    case $(od -An -tx1 -N20 -- "$file" | tr -d ' \n') in
        7f454c460201????????????????????????3e00) wanted=x86_64 ;;
        7f454c460201????????????????????????b700) wanted=aarch64 ;;
        7f454c46*) ;;
        *) die "$file is no program for Linux" ;;
    esac
    [ "$wanted" = "$machine" ] ||
        die "the architecture is wrong: ${file##*/} is for $wanted, this machine is $machine. Take the archive for $machine"
    output=$(run_program "$file" --version 2>&1) || die "${file##*/} does not run on this machine: $output"
}

version_of() {
    run_program "$1" --version 2>/dev/null | awk '{ print $NF; exit }'
}

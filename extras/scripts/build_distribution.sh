#!/usr/bin/env bash
# Makes what TaskMessenger is delivered as, from one list of contents for each platform: extras/distribution/contents and
# extras/distribution/contents-windows.
set -euo pipefail

PROGRAM=${0##*/}
CHECKOUT=$(realpath -e -- "$(dirname -- "${BASH_SOURCE[0]}")/../..")

# shellcheck source=extras/distribution/lib/contents.sh
source "$CHECKOUT/extras/distribution/lib/contents.sh"
# shellcheck source=extras/distribution/lib/programs.sh
source "$CHECKOUT/extras/distribution/lib/programs.sh"
# shellcheck source=extras/distribution/lib/archive.sh
source "$CHECKOUT/extras/distribution/lib/archive.sh"
# shellcheck source=extras/distribution/lib/package.sh
source "$CHECKOUT/extras/distribution/lib/package.sh"
# shellcheck source=extras/distribution/lib/windows.sh
source "$CHECKOUT/extras/distribution/lib/windows.sh"

usage() {
    cat <<END
Usage: $PROGRAM manager|worker|all [options]

Builds the programs and packs them, as dist/task-messenger-COMPONENT-vVERSION-linux-ARCHITECTURE.tar.gz (for Windows .zip) and
a .sha256 of it.

  --target windows        build for Windows on x64, on Linux
  --no-service            leave out what is needed to run as a service
  --deb                   make the Debian packages too: all three, whatever is chosen
  --deb-revision N        their revision, if the same version is packed anew (1)
  --bin-dir DIR           take the programs in DIR instead of building them
  --allow-builder-paths   don't refuse programs of --bin-dir that have paths of the machine they were built on
  --verify-rebuild        build everything twice, in two other directories, and compare what comes out, byte by byte
  --out DIR               where to put it all (dist/ of the checkout)
  --contents FILE         another list of contents
  --help                  show this

SOURCE_DATE_EPOCH is the time of all files; without it, it is that of the last commit. DEB_MAINTAINER is who the packages name.
END
}

warn() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

die() {
    warn "$@"
    exit 1
}

refuse_usage() {
    warn "$@"
    warn "\`$PROGRAM --help\` shows how it is used"
    exit 64
}

COMPONENTS=()
TARGET=linux
SERVICE=1
DEB=0
REVISION=1
BIN_DIR=""
ALLOW_PATHS=0
VERIFY=0
OUT=$CHECKOUT/dist
LIST=""

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            manager | worker) COMPONENTS+=("$1") ;;
            all) COMPONENTS+=(manager worker) ;;
            --no-service) SERVICE=0 ;;
            --deb) DEB=1 ;;
            --allow-builder-paths) ALLOW_PATHS=1 ;;
            --verify-rebuild) VERIFY=1 ;;
            --bin-dir | --out | --contents | --deb-revision | --target)
                [ -n "${2:-}" ] || refuse_usage "$1 needs a value"
                take_value "$1" "$2"
                shift
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            *) refuse_usage "unknown: $1" ;;
        esac
        shift
    done
    refuse_nonsense
}

take_value() {
    case $1 in
        --bin-dir)
            [ -d "$2" ] || die "there is no directory $2"
            BIN_DIR=$(realpath -e -- "$2")
            ;;
        --out) OUT=$(realpath -m -- "$2") ;;
        --contents) LIST=$2 ;;
        --target)
            [[ $2 =~ ^(linux|windows)$ ]] || refuse_usage "--target is linux or windows, not $2"
            TARGET=$2
            ;;
        --deb-revision)
            [[ $2 =~ ^[1-9][0-9]*$ ]] || refuse_usage "--deb-revision is a number, not $2"
            REVISION=$2
            ;;
    esac
}

refuse_nonsense() {
    [ ${#COMPONENTS[@]} -gt 0 ] || refuse_usage "say which: manager, worker or all"
    if [ ${#COMPONENTS[@]} -gt 1 ] && [ "${COMPONENTS[*]}" != "manager worker" ]; then
        refuse_usage "name one, or all"
    fi
    if [ "$DEB" = 1 ] && [ "$TARGET" = windows ]; then
        refuse_usage "there are no Debian packages for Windows: --deb and --target windows don't go together"
    fi
    if [ "$DEB" = 1 ] && [ "$SERVICE" = 0 ]; then
        refuse_usage "the packages are services: --deb and --no-service don't go together"
    fi
    if [ "$ALLOW_PATHS" = 1 ] && [ -z "$BIN_DIR" ]; then
        refuse_usage "--allow-builder-paths is for the programs of --bin-dir"
    fi
    if [ "$VERIFY" = 1 ] && [ -n "$BIN_DIR" ]; then
        refuse_usage "--verify-rebuild builds the programs, and --bin-dir takes them"
    fi
    if [ "$VERIFY" = 1 ] && [ -n "$LIST" ]; then
        refuse_usage "--verify-rebuild builds what is committed, and --contents is something else"
    fi
    if [ -z "$LIST" ]; then
        LIST=$CHECKOUT/extras/distribution/contents
        [ "$TARGET" = linux ] || LIST+=-windows
    fi
    # COMPONENTS is of what programs are needed, PACKED what archives. The packages depend on each other's version, and so are
    # made together.
    PACKED=("${COMPONENTS[@]}")
    [ "$DEB" = 0 ] || COMPONENTS=(manager worker)
}

refuse_missing_tools() {
    local tool missing=()
    # Also with --bin-dir: cargo and rustc know whose licences go along with the programs.
    local tools=(tar gzip sha256sum od strip objdump realpath awk python3 cargo rustc)
    [ "$DEB" = 0 ] || tools+=(dpkg-deb md5sum xz)
    for tool in "${tools[@]}"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] || die "these are needed and not here: ${missing[*]} (Debian: apt-get install binutils tar gzip xz-utils python3)"
    tar --version | grep -q 'GNU tar' || die "GNU tar is needed"
    [ "$TARGET" = linux ] || refuse_missing_windows_tools
}

# Sets VERSION to what the source says. Programs of --bin-dir may have another, if all have the same; but not those for Windows.
take_version_of_source() {
    VERSION=""
    [ -z "$BIN_DIR" ] || [ "$TARGET" = windows ] || return 0
    VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' "$CHECKOUT/Cargo.toml")
    [ -n "$VERSION" ] || die "Cargo.toml says no version"
}

take_time() {
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        SOURCE_DATE_EPOCH=$(git -C "$CHECKOUT" log -1 --format=%ct) ||
            die "this is no checkout that git knows: say in SOURCE_DATE_EPOCH which time files get"
    fi
    [[ $SOURCE_DATE_EPOCH =~ ^[0-9]+$ ]] || die "SOURCE_DATE_EPOCH is no number of seconds: $SOURCE_DATE_EPOCH"
}

all_wanted_entries() {
    local component
    for component in "${PACKED[@]}"; do
        entries_of_archive "$component"
    done
    [ "$DEB" = 0 ] || for component in common manager worker; do
        entries_of_package "$component"
    done
}

pack() {
    local component
    load_contents "$LIST" "$TARGET"
    all_wanted_entries >"$WORK/wanted"
    # Before minutes of building.
    refuse_what_is_missing <"$WORK/wanted"
    if [ "$TARGET" = windows ]; then
        [ -n "$BIN_DIR" ] || build_windows_programs
        take_windows_programs "${BIN_DIR:-$(windows_build_directory)}"
        RUST_TARGET=$WINDOWS_TARGET
    else
        [ -n "$BIN_DIR" ] || build_programs
        take_programs "${BIN_DIR:-$(build_directory)/release}"
        RUST_TARGET=$ARCHITECTURE-unknown-linux-gnu
    fi
    generate_files <"$WORK/wanted"
    mkdir -p "$OUT"
    for component in "${PACKED[@]}"; do
        if [ "$TARGET" = windows ]; then
            pack_zip "$component"
        else
            pack_archive "$component"
        fi
    done
    [ "$DEB" = 0 ] || for component in common manager worker; do
        build_package "$component"
    done
}

# Builds what is committed in two directories with names of different length, from nothing, and compares all that comes out.
verify_rebuild() {
    local copy file differ=0 arguments=("${PACKED[@]}")
    [ ${#PACKED[@]} = 1 ] || arguments=(all)
    arguments+=(--target "$TARGET")
    [ "$SERVICE" = 1 ] || arguments+=(--no-service)
    [ "$DEB" = 0 ] || arguments+=(--deb --deb-revision "$REVISION")
    [ -z "$(git -C "$CHECKOUT" status --porcelain)" ] || die "not everything is committed, and what is built is what is committed"
    for copy in "$WORK/one" "$WORK/two/with-a-longer-name"; do
        mkdir -p "$copy"
        git clone -q --no-hardlinks "$CHECKOUT" "$copy/source"
        warn "building in $copy/source"
        (unset CARGO_TARGET_DIR && export SOURCE_DATE_EPOCH &&
            "$copy/source/extras/scripts/build_distribution.sh" "${arguments[@]}" --out "$copy/dist" >&2) ||
            die "the build in $copy/source failed"
        rm -rf "$copy/source/target"
    done
    for file in "$WORK/one/dist"/*; do
        cmp "$file" "$WORK/two/with-a-longer-name/dist/${file##*/}" || differ=1
    done
    [ "$differ" = 0 ] || die "two builds of the same source differ"
    mkdir -p "$OUT"
    for file in "$WORK/one/dist"/*; do
        deliver "$file"
    done
    warn "two builds in different directories gave the same bytes"
}

main() {
    umask 022
    read_arguments "$@"
    refuse_missing_tools
    take_time
    WORK=$(mktemp -d)
    PROGRAMS=$WORK/programs GENERATED=$WORK/generated
    trap 'rm -rf -- "$WORK"' EXIT
    if [ "$VERIFY" = 1 ]; then
        verify_rebuild
        return
    fi
    take_version_of_source
    pack
}

main "$@"

# shellcheck shell=bash
# Builds the programs, or takes ready ones, and makes of them what is delivered.

ALL_PROGRAMS=(task-messenger task-messenger-manager task-messenger-worker)

# The C library of the oldest system that is supported: Debian 12 has 2.36, Ubuntu 22.04 2.35, RHEL 9 2.34.
NEWEST_GLIBC=2.34

# Prints the directory that cargo keeps its downloads in.
cargo_home() {
    printf '%s' "${CARGO_HOME:-$HOME/.cargo}"
}

# Prints the directory that cargo builds in.
build_directory() {
    printf '%s' "${CARGO_TARGET_DIR:-$CHECKOUT/target}/distribution"
}

# Exports what a build without any path of the builder needs: not in messages of panics (the compiler's flag), not in what C
# files name.
build_environment() {
    local target sysroot commit flags="" cflags="" map
    target=$(build_directory)
    sysroot=$(cd "$CHECKOUT" && rustc --print sysroot) || die "there is no Rust compiler, or it doesn't answer"
    commit=$(cd "$CHECKOUT" && rustc -vV | sed -n 's/^commit-hash: //p')
    # Of two that fit, the compiler takes the last. The standard library has the name that it has without its source installed.
    local maps=("$sysroot=/usr/src/rust" "$sysroot/lib/rustlib/src/rust=/rustc/$commit" "$(cargo_home)=/usr/src/cargo"
        "$CHECKOUT=/usr/src/task-messenger" "$target=/usr/src/task-messenger/target")
    for map in "${maps[@]}"; do
        flags+=${flags:+$'\x1f'}--remap-path-prefix=$map
        cflags+="${cflags:+ }-ffile-prefix-map=$map"
    done
    # Flags of the caller's environment would make other programs. Debug information would be stripped; not making it saves
    # half of the time.
    unset RUSTFLAGS
    export CARGO_TARGET_DIR=$target CARGO_ENCODED_RUSTFLAGS=$flags CFLAGS=$cflags
    export CARGO_PROFILE_RELEASE_DEBUG=none CARGO_INCREMENTAL=0
}

# Builds all programs, always all, because features of common dependencies come from all of them.
build_programs() {
    (build_environment && cd "$CHECKOUT" && cargo build --release --locked \
        -p task-messenger-cli -p task-messenger-manager -p task-messenger-worker) || die "the programs could not be built"
}

# take_programs DIR: copies what is delivered of them to PROGRAMS, and refuses what must not be delivered.
take_programs() {
    local from=$1 program
    mkdir -p "$PROGRAMS"
    for program in "${ALL_PROGRAMS[@]}"; do
        is_wanted_program "$program" || continue
        [[ -f $from/$program && -x $from/$program ]] || die "there is no program $from/$program"
        cp -- "$from/$program" "$PROGRAMS/$program"
        take_architecture "$program"
        # The names of functions stay, for the backtrace of a panic that somebody reports: a fifth of the size.
        strip --strip-debug "$PROGRAMS/$program" || die "$from/$program could not be stripped"
        refuse_newer_symbols "$program"
        refuse_builder_paths "$program"
        take_version "$program"
    done
}

is_wanted_program() {
    local component
    [ "$1" != task-messenger ] || return 0
    for component in "${COMPONENTS[@]}"; do
        [ "$1" != "task-messenger-$component" ] || return 0
    done
    return 1
}

# Sets ARCHITECTURE from the header of an ELF file: not this machine's counts, but the program's.
take_architecture() {
    local program=$1 magic machine architecture
    magic=$(od -An -tx1 -N5 "$PROGRAMS/$program" | tr -d ' ')
    machine=$(od -An -tx1 -j18 -N2 "$PROGRAMS/$program" | tr -d ' ')
    case $magic-$machine in
        7f454c4602-3e00) architecture=x86_64 ;;
        7f454c4602-b700) architecture=aarch64 ;;
        *) die "$program is no program for Linux on x86_64 or aarch64" ;;
    esac
    [ "${ARCHITECTURE:=$architecture}" = "$architecture" ] || die "the programs are for different architectures"
}

# Sets VERSION, which all must have, and which the source must have.
take_version() {
    local program=$1 version
    version=$("$PROGRAMS/$program" --version) || die "$program does not run on this machine"
    version=${version##* }
    [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || die "$program has a strange version: $version"
    [ "${VERSION:=$version}" = "$version" ] || die "$program has version $version, not $VERSION as the source or the others"
}

refuse_newer_symbols() {
    local program=$1 symbols newest
    symbols=$(LC_ALL=C objdump -T "$PROGRAMS/$program") || die "objdump can't read $program"
    newest=$(grep -o 'GLIBC_[0-9.]*[0-9]' <<<"$symbols" | sed 's/^GLIBC_//' | sort -V | tail -n 1 || true)
    if [ "$(printf '%s\n' "$NEWEST_GLIBC" "${newest:-0}" | sort -V | tail -n 1)" != "$NEWEST_GLIBC" ]; then
        warn "$program needs a C library newer than $NEWEST_GLIBC:"
        grep "GLIBC_${newest//./\\.}" <<<"$symbols" >&2
        exit 1
    fi
}

# What a path of the builder looks like: what was used here, and where cargo and rustup keep things by themselves. As a text
# somewhere in the file, so each is long enough to be nothing else.
refuse_builder_paths() {
    local program=$1 found
    local paths=("$CHECKOUT/crates/" "$CHECKOUT/target/" "${CARGO_TARGET_DIR:-$CHECKOUT/target}/distribution/"
        "$(cargo_home)/registry/" "${RUSTUP_HOME:-$HOME/.rustup}/toolchains/" /.cargo/registry/ /.rustup/toolchains/)
    [ "$ALLOW_PATHS" = 0 ] || return 0
    found=$(grep -a -o -F -m 5 "$(printf '%s\n' "${paths[@]}")" "$PROGRAMS/$program" | sort -u || true)
    if [ -n "$found" ]; then
        warn "$program has paths of the machine that it was built on, such as:"
        printf '    %s\n' "$found" | head -n 5 >&2
        warn "this script builds it without; --allow-builder-paths takes it as it is, for trying something out"
        exit 1
    fi
}

# Makes what the entries on standard input want to be generated or printed, once each.
generate_files() {
    local kind mode source place
    mkdir -p "$GENERATED"
    # shellcheck disable=SC2034
    while read -r kind mode source place; do
        if [[ ! $kind =~ ^(generated|printed)$ || -f $GENERATED/$source ]]; then
            continue
        fi
        if [ "$kind" = printed ]; then
            print_file "$source"
            continue
        fi
        env -i PATH=/usr/bin:/bin LANG=C.UTF-8 "$PROGRAMS/${source%:*}" generate "${source#*:}" >"$GENERATED/$source" ||
            die "this failed: ${source%:*} generate ${source#*:}"
        [ -s "$GENERATED/$source" ] || die "this prints nothing: ${source%:*} generate ${source#*:}"
        refuse_wrong_section "$source" "$place"
    done
}

# Asks for it with what the programs are for, which need not be this machine.
print_file() {
    mkdir -p "$(dirname -- "$GENERATED/$1")"
    "$CHECKOUT/$1" --target "$RUST_TARGET" >"$GENERATED/$1" || die "this failed: $1"
    [ -s "$GENERATED/$1" ] || die "this prints nothing: $1"
}

# A manual page says its section in its first line; it must be the one whose directory it comes to.
refuse_wrong_section() {
    local section
    [[ $1 == *:man ]] || return 0
    section=$(sed -n 's/^\.TH [^ ]* \([0-9]\).*/\1/p' "$GENERATED/$1" | head -n 1)
    [[ $2 == */man$section/*.$section* ]] || die "the manual page $1 says section '$section', and the list $2"
}

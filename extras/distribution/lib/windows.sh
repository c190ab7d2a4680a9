# shellcheck shell=bash
# Archives for Windows, built on Linux.

WINDOWS_TARGET=x86_64-pc-windows-gnu
WINDOWS_TOOLS=x86_64-w64-mingw32

refuse_missing_windows_tools() {
    local tool missing=()
    for tool in "$WINDOWS_TOOLS-gcc" "$WINDOWS_TOOLS-strip" "$WINDOWS_TOOLS-objdump" "$WINDOWS_TOOLS-windres" python3 sha256sum; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] || die "these are needed and not here: ${missing[*]} (Debian: apt-get install gcc-mingw-w64-x86-64 python3)"
}

# Sets COMPILER to how cargo is called: with the toolchain's own library for Windows, or with Debian's compiler, which can make
# that library first. Fails if there is neither.
choose_windows_compiler() {
    local library
    library=$(cd "$CHECKOUT" && rustc --print target-libdir --target "$WINDOWS_TARGET" 2>/dev/null) || library=""
    if [ -n "$library" ] && [ -n "$(ls -- "$library" 2>/dev/null)" ]; then
        COMPILER=(cargo)
        warn "building for Windows with $(cd "$CHECKOUT" && rustc --version)"
    elif [ -x /usr/bin/cargo ] && [ -e /usr/lib/rustlib/src/rust ]; then
        COMPILER=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo "-Zbuild-std=std,panic_unwind")
        warn "building for Windows, and its standard library first, with $(/usr/bin/rustc --version)"
    else
        return 1
    fi
}

# cargo_for_windows COMMAND ARGUMENTS...: runs cargo so that what it builds is for Windows.
cargo_for_windows() {
    choose_windows_compiler ||
        die "no Rust compiler here knows Windows: \`rustup target add $WINDOWS_TARGET\`, or on Debian apt-get install rustc-web cargo-web rust-web-src"
    (build_environment && cd "$CHECKOUT" && export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=$WINDOWS_TOOLS-gcc &&
        "${COMPILER[@]}" "$1" --locked --target "$WINDOWS_TARGET" "${@:2}")
}

build_windows_programs() {
    cargo_for_windows build --release -p task-messenger-cli -p task-messenger-manager -p task-messenger-worker ||
        die "the programs could not be built"
}

windows_build_directory() {
    printf '%s/%s/release' "$(build_directory)" "$WINDOWS_TARGET"
}

# take_windows_programs DIR: as take_programs.
take_windows_programs() {
    local from=$1 program format libraries
    mkdir -p "$PROGRAMS"
    for program in "${ALL_PROGRAMS[@]}"; do
        is_wanted_program "$program" || continue
        [ -f "$from/$program.exe" ] || die "there is no program $from/$program.exe"
        cp -- "$from/$program.exe" "$PROGRAMS/$program"
        format=$("$WINDOWS_TOOLS-objdump" -f "$PROGRAMS/$program" 2>/dev/null | sed -n 's/.*file format //p')
        [ "$format" = pei-x86-64 ] || die "$program.exe is no program for Windows on x64"
        # It writes a time into the program.
        SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH "$WINDOWS_TOOLS-strip" --strip-debug "$PROGRAMS/$program" || die "$from/$program.exe could not be stripped"
        # One file that needs nothing but Windows 10.
        libraries=$("$WINDOWS_TOOLS-objdump" -p "$PROGRAMS/$program" | sed -n 's/.*DLL Name: //p' | grep -iE '^(lib|vcruntime|msvcp)' || true)
        [ -z "$libraries" ] || die "$program.exe needs what Windows does not bring: $libraries"
        refuse_builder_paths "$program"
        refuse_other_version "$program"
    done
}

# The version of the archive is that of the source. A program can't be asked for its own here, but its file says it.
refuse_other_version() {
    local its
    its=$(python3 "$CHECKOUT/extras/distribution/program_version.py" "$PROGRAMS/$1") || die "$1.exe can't be read"
    [ "$its" = "$VERSION" ] || die "$1.exe has version ${its:-unknown}, not $VERSION as the source"
}

# pack_zip COMPONENT. The same files give the same bytes.
pack_zip() {
    local component=$1 name kind mode source place stage
    name=task-messenger-$component-v$VERSION-windows-x64
    stage=$WORK/archive/$name
    mkdir -p "$stage"
    while read -r kind mode source place; do
        put_entry "$kind" "$mode" "$source" "$stage/$place"
    done < <(entries_of_archive "$component")
    (cd "$stage" && find . -type f ! -path ./CONTENTS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum -- >CONTENTS) || die "the contents of $name could not be listed"
    (cd "$WORK/archive" && SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH python3 "$CHECKOUT/extras/distribution/zip.py" "$name" &&
        sha256sum "$name.zip" >"$name.zip.sha256") || die "$name could not be packed"
    deliver "$WORK/archive/$name.zip"
    deliver "$WORK/archive/$name.zip.sha256"
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # tests are subshells
# How archives for Windows are made on Linux, with small stand-ins for the programs: nothing is built. Needs bats, python3 and
# Debian's gcc-mingw-w64-x86-64: `bats extras/tests/distribution_windows.bats`. extras/tests/windows/build.bats has the same for
# how they are made on Windows.

bats_require_minimum_version 1.5.0

COMPILER=x86_64-w64-mingw32-gcc

setup_file() {
    command -v "$COMPILER" >/dev/null || return 0
    export TOP HERE=$BATS_FILE_TMPDIR/checkout BIN=$BATS_FILE_TMPDIR/bin SOURCE_DATE_EPOCH=1700000000
    local source name
    TOP=$(realpath "$BATS_TEST_DIRNAME/../..")
    mkdir -p "$HERE/extras/scripts" "$BIN"
    cp -r "$TOP/extras/distribution" "$HERE/extras/"
    cp "$TOP/extras/scripts/build_distribution.sh" "$HERE/extras/scripts/"
    printf '[workspace.package]\nversion = "1.2.3"\n' >"$HERE/Cargo.toml"
    while read -r source; do
        mkdir -p "$HERE/$(dirname "$source")"
        # shellcheck disable=SC2086 # a pattern
        cp "$TOP"/$source "$HERE/$(dirname "$source")/"
    done < <(awk '!/^#/ && $3 == "file" { print $4 }' "$TOP/extras/distribution/contents-windows")
    # What says whose licences go along only tells here what it was asked.
    printf '#!/bin/sh\necho "licences $*"\n' >"$HERE/extras/distribution/licences.py"
    for name in task-messenger task-messenger-manager task-messenger-worker; do
        program "$name"
    done
}

setup() {
    command -v "$COMPILER" >/dev/null || skip "SKIPPED: no compiler for Windows"
    OUT=$BATS_TEST_TMPDIR/out
    LIST=$HERE/extras/distribution/contents-windows
}

# program NAME [TEXT] [FLAGS...]: makes a program that has a text in it, and says in its file's properties which version it has.
program() {
    echo 'const char *volatile text = TEXT; int main() { return text[0]; }' |
        "$COMPILER" -g "-DTEXT=\"${2:-}\"" -x c - -x none "$(version_of "${VERSION:-1.2.3}")" "${@:3}" -o "$BIN/$1.exe"
}

# version_of VERSION: a part of a program that says so, as the programs' build does it.
version_of() {
    local part=$BATS_FILE_TMPDIR/version-$1.o
    [ -e "$part" ] || x86_64-w64-mingw32-windres -o "$part" <<END
1 VERSIONINFO FILEVERSION 1,2,3,0
{
BLOCK "StringFileInfo" { BLOCK "000004b0" { VALUE "FileVersion", "9.9.9\\0"
    VALUE "ProductName", "TaskMessenger\\0"
    VALUE "ProductVersion", "$1\\0" } }
BLOCK "VarFileInfo" { VALUE "Translation", 0x0, 0x04b0 }
}
END
    printf '%s' "$part"
}

own_programs() {
    cp -r "$BIN" "$BATS_TEST_TMPDIR/bin"
    BIN=$BATS_TEST_TMPDIR/bin
}

# A compiler and a cargo that take ready programs: cargo puts down how it was called.
own_compiler() {
    mkdir -p "$BATS_TEST_TMPDIR/tools" "$BATS_TEST_TMPDIR/rust/lib"
    cat >"$BATS_TEST_TMPDIR/tools/rustc" <<END
#!/bin/sh
case "\$*" in
    --print\ target-libdir*) echo "$BATS_TEST_TMPDIR/rust/lib" ;;
    -vV) echo "commit-hash: 1" ;;
    *) echo "$BATS_TEST_TMPDIR/rust" ;;
esac
END
    cat >"$BATS_TEST_TMPDIR/tools/cargo" <<END
#!/bin/sh
printf '%s\n' "\$*" "\$CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER" "\$CARGO_ENCODED_RUSTFLAGS" >"$BATS_TEST_TMPDIR/call"
mkdir -p "\$CARGO_TARGET_DIR/x86_64-pc-windows-gnu/release"
cp "$BIN"/* "\$CARGO_TARGET_DIR/x86_64-pc-windows-gnu/release/"
exit ${1:-0}
END
    chmod +x "$BATS_TEST_TMPDIR/tools"/*
    PATH=$BATS_TEST_TMPDIR/tools:$PATH
}

pack() {
    "$HERE/extras/scripts/build_distribution.sh" "$@" --target windows --bin-dir "$BIN" --out "$OUT"
}

# Fails with 1 and a message that has this text, and leaves nothing behind.
refuses() {
    run -1 pack "${@:2}"
    [[ $output == *"$1"* ]] || { echo "$output"; return 1; }
    [ -z "$(ls -A "$OUT" 2>/dev/null)" ] || { ls -A "$OUT"; return 1; }
}

# Prints what is in an archive.
names() {
    python3 -c 'import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist(), sep="\n")' \
        "$OUT/task-messenger-$1-v1.2.3-windows-x64.zip" | cut -d / -f 2-
}

# What the list says for a component; with `always` only what isn't for services.
wanted() {
    awk -v c="$1" -v when="${2:-}" '!/^#/ && NF && ($1 == c || $1 == "both") && (when == "" || $2 == when) { print $4, $5 }' "$LIST" |
        while read -r source place; do
            if [[ $source == *\** ]]; then
                for file in "$HERE"/$source; do echo "$place${file##*/}"; done
            else
                echo "$place"
            fi
        done
    echo CONTENTS
}

@test "an archive for Windows has what the list says, one top directory, and a list of sums that is right" {
    pack all
    local component name
    [ "$(find "$OUT" -type f | wc -l)" = 4 ]
    for component in manager worker; do
        name=task-messenger-$component-v1.2.3-windows-x64
        (cd "$OUT" && sha256sum --quiet -c "$name.zip.sha256")
        diff <(wanted "$component" | LC_ALL=C sort) <(names "$component" | LC_ALL=C sort)
        # In the order that it is unpacked in everywhere, with the time that was said, and no name as only Windows writes it.
        python3 - "$OUT/$name.zip" "$name" <<'END'
import sys, zipfile
items = zipfile.ZipFile(sys.argv[1]).infolist()
assert [item.orig_filename for item in items] == sorted(item.orig_filename for item in items)
for item in items:
    assert item.orig_filename.startswith(sys.argv[2] + "/") and "\\" not in item.orig_filename, item.orig_filename
    assert item.date_time == (2023, 11, 14, 22, 13, 20), item.date_time
END
        (cd "$BATS_TEST_TMPDIR" && python3 -m zipfile -e "$OUT/$name.zip" .)
        cd "$BATS_TEST_TMPDIR/$name"
        sha256sum --quiet --strict -c CONTENTS
        diff <(cut -d ' ' -f 3- CONTENTS) <(find . -type f ! -name CONTENTS -printf '%P\n' | LC_ALL=C sort)
        cmp "share/windows-service/nssm.json" "$TOP/extras/windows-service/nssm.json"
        cmp README.md "$TOP/extras/distribution/README-$component-windows.md"
        # The licences are of what is linked for Windows.
        [ "$(cat share/doc/THIRD-PARTY-LICENCES.txt)" = "licences --target x86_64-pc-windows-gnu" ]
        # Debug information is for nobody.
        [ "$(x86_64-w64-mingw32-objdump -h "bin/task-messenger-$component.exe" | grep -c debug_info)" = 0 ]
    done
}

@test "packed twice, elsewhere and by another mask, an archive for Windows is the same bytes" {
    pack all
    mv "$OUT" "$OUT.first"
    cp -r "$HERE" "$BATS_TEST_TMPDIR/moved"
    find "$BATS_TEST_TMPDIR/moved" -exec touch -d '2001-01-01' {} +
    HERE=$BATS_TEST_TMPDIR/moved
    (umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 pack all)
    diff -r "$OUT.first" "$OUT"
    # Nor does it matter whether the other one is made too.
    rm -r "$OUT"
    pack worker
    [ "$(find "$OUT" -type f | wc -l)" = 2 ]
    cmp "$OUT.first/task-messenger-worker-v1.2.3-windows-x64.zip" "$OUT/task-messenger-worker-v1.2.3-windows-x64.zip"
}

@test "programs for Windows have the time of the last commit, not that of packing" {
    local before=$EPOCHSECONDS
    git -C "$HERE" init -q
    git -C "$HERE" -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m x
    unset SOURCE_DATE_EPOCH
    pack all
    mv "$OUT" "$OUT.first"
    while [ "$EPOCHSECONDS" -le $((before + 1)) ]; do :; done
    pack all
    rm -rf "$HERE/.git"
    diff -r "$OUT.first" "$OUT"
}

@test "--no-service leaves out of an archive for Windows what is for services, and nothing else" {
    pack all --no-service
    diff <(wanted worker always | LC_ALL=C sort) <(names worker | LC_ALL=C sort)
    [ "$(names worker | grep -c -E '^(scripts|share/windows-service)/|SERVICES')" = 0 ]
}

@test "programs that must not be delivered for Windows are refused" {
    own_programs
    rm "$BIN/task-messenger-worker.exe"
    refuses "there is no program" worker
    cp /bin/true "$BIN/task-messenger-worker.exe"
    refuses "task-messenger-worker.exe is no program for Windows on x64" worker
    # What a program of another compiler may need.
    echo '__declspec(dllexport) int answer(void) { return 42; }' | "$COMPILER" -shared -x c - -o "$BATS_TEST_TMPDIR/libextra.dll"
    echo 'int answer(void); int main() { return answer(); }' |
        "$COMPILER" -x c - -x none "$(version_of 1.2.3)" "$BATS_TEST_TMPDIR/libextra.dll" -o "$BIN/task-messenger-worker.exe"
    refuses "needs what Windows does not bring: libextra.dll" worker
    program task-messenger-worker "at $HERE/crates/worker/src/main.rs:1"
    refuses "paths of the machine that it was built on" worker
    pack worker --allow-builder-paths
}

@test "programs for Windows of another version than the archive's are refused" {
    own_programs
    VERSION=1.2.4 program task-messenger-worker
    refuses "task-messenger-worker.exe has version 1.2.4, not 1.2.3 as the source" worker
    pack manager
    rm -r "$OUT"
    echo 'int main() { return 0; }' | "$COMPILER" -x c - -o "$BIN/task-messenger.exe"
    refuses "task-messenger.exe has version unknown, not 1.2.3 as the source" worker
}

@test "programs for Windows are built with its linker, all of them, and without a path of the builder" {
    own_compiler
    echo library >"$BATS_TEST_TMPDIR/rust/lib/libstd.rlib"
    "$HERE/extras/scripts/build_distribution.sh" worker --target windows --out "$OUT"
    [ "$(find "$OUT" -type f | wc -l)" = 2 ]
    diff <(head -n 2 "$BATS_TEST_TMPDIR/call") - <<'END'
build --locked --target x86_64-pc-windows-gnu --release -p task-messenger-cli -p task-messenger-manager -p task-messenger-worker
x86_64-w64-mingw32-gcc
END
    grep -q -- "--remap-path-prefix=$HERE=/usr/src/task-messenger" "$BATS_TEST_TMPDIR/call"
    own_compiler 101
    rm -r "$OUT"
    run -1 "$HERE/extras/scripts/build_distribution.sh" worker --target windows --out "$OUT"
    [[ $output == *"the programs could not be built"* && ! -e $OUT ]]
}

@test "a list for Windows that makes no sense is refused, with its line" {
    local line text own=$BATS_TEST_TMPDIR/list
    while IFS='|' read -r line text; do
        printf '# a list\n\n%s\n' "$line" >"$own"
        refuses "$own:3: $text" all --contents "$own"
    done <<'END'
both always file LICENSE|there must be five columns
both always file 0644 LICENSE share/doc/LICENSE|there must be five columns
client always file LICENSE share/doc/LICENSE|no component
both sometimes file LICENSE share/doc/LICENSE|neither always nor service
both always thing LICENSE share/doc/LICENSE|no kind
both always file LICENSE ../LICENSE|no place in an archive
both always file LICENSE C:\LICENSE|no place in an archive
both always link ../x bin/x|archives have no links
both always file LICENSE -|a place needs somebody
both always file */x share/doc/|a * stands only in a file's name
END
    printf '%s\n' 'both always file LICENSE share/a' 'worker always file CHANGELOG.md share/a' >"$own"
    refuses "two entries of the list for share/a in the archive of worker" all --contents "$own"
    printf 'both always file docs/NOTHING.md share/doc/NOTHING.md\n' >"$own"
    refuses "names what is not there" all --contents "$own"
}

# sources LIST COLUMN: what archives have of it, as `COMPONENT WHEN SOURCE`, without what only one platform has.
sources() {
    awk -v at="$2" '!/^#/ && NF && $1 != "-" && $3 != "generated" { print $1, $2, $at }' "$TOP/extras/distribution/$1" |
        grep -v -E "$3" | LC_ALL=C sort
}

@test "what has nothing to do with a platform is in the archives of both, for the same component" {
    local linux=' extras/(systemd|logrotate|needrestart|man|scripts|etc)/| docs/SERVICES-LINUX.md| extras/distribution/README-[a-z]*\.md'
    local windows=' extras/(windows-service|scripts|etc/windows)/| docs/SERVICES-WINDOWS.md| extras/distribution/README-[a-z]*-windows\.md'
    diff <(sources contents 5 "$linux") <(sources contents-windows 4 "$windows")
    # And of each that has something of its own, the other has it too.
    local name
    for name in install_service uninstall_service; do
        grep -q "^both *service .* extras/scripts/${name}_linux.sh " "$TOP/extras/distribution/contents"
        grep -q "^both *service .* extras/scripts/${name}_windows.ps1 " "$TOP/extras/distribution/contents-windows"
    done
    # Whatever script there is for Windows is delivered, but for the one that makes the archives.
    for name in "$TOP"/extras/scripts/*.ps1; do
        [ "${name##*/}" = build_distribution.ps1 ] || grep -q " extras/scripts/${name##*/} " "$TOP/extras/distribution/contents-windows"
    done
}

@test "without what makes programs for Windows, that is said" {
    local tool
    mkdir "$BATS_TEST_TMPDIR/few"
    for tool in bash env dirname realpath tar gzip sha256sum od objdump awk strip python3 grep; do
        ln -s "$(command -v "$tool")" "$BATS_TEST_TMPDIR/few/$tool"
    done
    printf '#!/bin/sh\n' | tee "$BATS_TEST_TMPDIR/few/cargo" >"$BATS_TEST_TMPDIR/few/rustc"
    chmod +x "$BATS_TEST_TMPDIR/few/cargo" "$BATS_TEST_TMPDIR/few/rustc"
    PATH=$BATS_TEST_TMPDIR/few refuses "not here: x86_64-w64-mingw32-gcc x86_64-w64-mingw32-strip" all
}

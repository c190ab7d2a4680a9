#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2016 # tests are subshells; what is single-quoted is a tool's
# How archives for Windows are built there, from the call of cargo on: on Linux as if it were Windows, with stand-ins for cargo, rustc,
# python and git that put down how they were called.

load helper

setup_file() {
    { [ -n "${PWSH:-$(command -v pwsh)}" ] && has_compilers; } || return 0
    export CHECKOUT=$BATS_FILE_TMPDIR/checkout PROGRAMS=$BATS_FILE_TMPDIR/programs
    mkdir "$PROGRAMS"
    # What is packed is for Windows, and what is asked is the same for Linux.
    build_programs x86_64-w64-mingw32-gcc task-messenger task-messenger-manager task-messenger-worker
    mv "$BATS_FILE_TMPDIR"/*.exe "$PROGRAMS/"
    build_programs cc task-messenger task-messenger-manager task-messenger-worker
    for name in "$BATS_FILE_TMPDIR"/*.exe; do
        mv "$name" "$PROGRAMS/$(basename "$name").linux"
    done
    make_checkout "$CHECKOUT"
    cat >>"$CHECKOUT/extras/scripts/lib/windows.ps1" <<'END'
function Test-Windows { $true }
$InvokeProgram = ${function:Invoke-Program}
function Invoke-Program {
    param([string]$Path, [string[]]$Arguments, [switch]$Quiet, [string]$Directory)
    & $InvokeProgram -Path ($Path -replace '\.exe\z', '.exe.linux') -Arguments $Arguments -Quiet:$Quiet -Directory $Checkout
}
END
}

has_compilers() {
    command -v x86_64-w64-mingw32-gcc >/dev/null && command -v cc >/dev/null
}

setup() {
    need_powershell
    has_compilers || skip "SKIPPED: no compiler for Windows, or none for Linux"
    OUT=$BATS_TEST_TMPDIR/out
    export CALLS=$BATS_TEST_TMPDIR/calls
    unset SOURCE_DATE_EPOCH CARGO_TARGET_DIR RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_INCREMENTAL CARGO_PROFILE_RELEASE_DEBUG
    export CARGO_HOME=$BATS_TEST_TMPDIR/cargo
    tool git 'echo "git $*" >>"$CALLS"; echo 1700000000'
    tool rustc 'case "$*" in -vV) echo "rustc 1"; echo "commit-hash: abc" ;; *) echo /rust ;; esac'
    tool python 'case "$*" in --version) echo "Python 3.12.1" ;; *) echo "licences"; echo "python $*" >>"$CALLS" ;; esac'
    # Of its environment what is said below, and that a variable is there at all.
    tool cargo 'echo "cargo $*" >>"$CALLS"; env >"$CALLS.environment"
        mkdir -p "$CARGO_TARGET_DIR/x86_64-pc-windows-msvc/release" && cp "$PROGRAMS"/* "$CARGO_TARGET_DIR/x86_64-pc-windows-msvc/release/"'
    PATH=$BATS_TEST_TMPDIR/tools:$PATH
}

# tool NAME SCRIPT
tool() {
    mkdir -p "$BATS_TEST_TMPDIR/tools"
    printf '#!/bin/sh\n%s\n' "$2" >"$BATS_TEST_TMPDIR/tools/$1"
    chmod +x "$BATS_TEST_TMPDIR/tools/$1"
}

build() {
    run "$PWSH" -NoProfile -NonInteractive -File "$CHECKOUT/extras/scripts/build_distribution.ps1" -Out "$OUT" "$@"
}

# What cargo was given of a variable; fails if it hadn't got it.
given() {
    grep -q "^$1=" "$CALLS.environment" && sed -n "s/^$1=//p" "$CALLS.environment"
}

@test "cargo builds all programs, and its environment is what was wanted: nothing empty, nothing of the caller's" {
    local flags name=task-messenger-manager-v1.2.3-windows-x64
    RUSTFLAGS=-Copt-level=0 build
    expect 0 "$name.zip.sha256"
    [ "$(grep ^cargo "$CALLS")" = "cargo build --release --locked --target x86_64-pc-windows-msvc \
-p task-messenger-cli -p task-messenger-manager -p task-messenger-worker" ]
    [ "$(grep -c '^RUSTFLAGS=' "$CALLS.environment")" = 0 ]
    [ "$(given CARGO_TARGET_DIR)" = "$CHECKOUT/target/distribution" ]
    [ "$(given CARGO_INCREMENTAL) $(given CARGO_PROFILE_RELEASE_DEBUG)" = "0 none" ]
    flags=$(given CARGO_ENCODED_RUSTFLAGS | tr '\037' ' ')
    [ "$flags" = "-Ctarget-feature=+crt-static --remap-path-prefix=/rust=/usr/src/rust --remap-path-prefix=/rust/lib/rustlib/src/rust=/rustc/abc \
--remap-path-prefix=$CARGO_HOME=/usr/src/cargo --remap-path-prefix=$CHECKOUT=/usr/src/task-messenger \
--remap-path-prefix=$CHECKOUT/target/distribution=/usr/src/task-messenger/target" ]
    # The time is that of the last commit, the licences are what was printed, for what was built.
    grep -qF "git -C $CHECKOUT log -1 --format=%ct" "$CALLS"
    [ "$(grep -c ^python "$CALLS")" = 1 ]
    grep -qF "python -X utf8 $CHECKOUT/extras/distribution/licences.py --target x86_64-pc-windows-msvc" "$CALLS"
    python3 - "$OUT/$name.zip" "$name/" "$PROGRAMS/task-messenger-manager.exe" <<'END'
import sys, zipfile
archive, top = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
assert archive.read(top + "share/doc/THIRD-PARTY-LICENCES.txt") == b"licences\n"
assert archive.read(top + "bin/task-messenger-manager.exe") == open(sys.argv[3], "rb").read()
assert {item.date_time for item in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
END
}

@test "the environment of who calls it is afterwards as before" {
    export RUSTFLAGS=-Copt-level=0
    run "$PWSH" -NoProfile -NonInteractive -Command "\$before = [Environment]::GetEnvironmentVariables();
        & '$CHECKOUT/extras/scripts/build_distribution.ps1' -Out '$OUT' | Out-Null;
        \$after = [Environment]::GetEnvironmentVariables();
        \$LASTEXITCODE; @(\$before.Keys) + @(\$after.Keys) | Where-Object { \$before[\$_] -cne \$after[\$_] }"
    [ "$output" = 0 ]
}

@test "CARGO_TARGET_DIR of the caller counts" {
    CARGO_TARGET_DIR=$BATS_TEST_TMPDIR/elsewhere build -Component worker
    expect 0
    [ "$(given CARGO_TARGET_DIR)" = "$BATS_TEST_TMPDIR/elsewhere/distribution" ]
}

# Takes the directories out of PATH that have another Python.
without_other_python() {
    local directory kept="" all
    IFS=: read -ra all <<<"$PATH"
    for directory in "${all[@]}"; do
        [ "$directory" != "$BATS_TEST_TMPDIR/tools" ] && [ -e "$directory/python" ] || kept+=:$directory
    done
    PATH=${kept#:}
}

@test "what is missing is said before anything is built" {
    without_other_python
    # What Windows has under the name, until Python is installed.
    tool python 'echo "Python was not found; run without arguments to install from the Microsoft Store" >&2; exit 49'
    build
    expect 1 "python is needed for the licences, and no Python 3 answers to that name"
    tool python 'echo "Python 2.7.18"'
    build
    expect 1 "no Python 3 answers to that name"
    tool git 'exit 128'
    tool python 'echo "Python 3.12.1"'
    build
    expect 1 "this failed, or printed nothing: $BATS_TEST_TMPDIR/tools/git"
    [ ! -e "$CALLS.environment" ]
    [ ! -e "$OUT" ]
}

@test "a Python behind the alias of the Store is found" {
    mkdir "$BATS_TEST_TMPDIR/alias"
    printf '#!/bin/sh\nexit 49\n' >"$BATS_TEST_TMPDIR/alias/python"
    chmod +x "$BATS_TEST_TMPDIR/alias/python"
    PATH=$BATS_TEST_TMPDIR/alias:$PATH build -Component worker
    expect 0
}

@test "what fails on the way is said, and nothing is delivered" {
    tool python 'case "$*" in --version) echo "Python 3.12.1" ;; *) exit 1 ;; esac'
    build
    expect 1 "this failed, or printed nothing: $BATS_TEST_TMPDIR/tools/python -X utf8"
    tool cargo 'exit 101'
    build
    expect 1 "this failed: $BATS_TEST_TMPDIR/tools/cargo build --release"
    [ -z "$(ls -A "$OUT" 2>/dev/null)" ]
}

@test "programs that have another version than the source are refused" {
    sed -i.before 's/"1.2.3"/"1.2.4"/' "$CHECKOUT/Cargo.toml"
    build
    mv "$CHECKOUT/Cargo.toml.before" "$CHECKOUT/Cargo.toml"
    expect 1 "task-messenger has version 1.2.3, not 1.2.4 as the source or the others"
}

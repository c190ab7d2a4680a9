# shellcheck shell=bash
# shellcheck disable=SC2154 # status and output are bats'
# An unpacked archive for each test, with stand-ins for the programs.

bats_require_minimum_version 1.5.0

REPOSITORY=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)
SCRIPTS=$REPOSITORY/extras/scripts

# A PowerShell is on PATH, or PWSH names it. Without one there is nothing to be tested here, and that must be seen.
need_powershell() {
    PWSH=${PWSH:-$(command -v pwsh)} || skip "SKIPPED: no PowerShell"
}

# One for Windows, which runs under Wine. Nothing may be skipped while a file is set up.
has_powershell_for_windows() {
    PWSH_WINE=${PWSH_WINE:-$(command -v pwsh-wine)} && command -v wine >/dev/null && command -v x86_64-w64-mingw32-gcc >/dev/null
}

need_powershell_for_windows() {
    PWSH_WINE=${PWSH_WINE:-$(command -v pwsh-wine)} || skip "SKIPPED: no PowerShell under Wine"
    has_powershell_for_windows || skip "SKIPPED: no Wine, or no compiler for it"
}

# build_programs COMPILER NAME...: the stand-ins, once a file; small, because PowerShell under Wine may not use much memory.
build_programs() {
    local name libraries=()
    [ "$1" = cc ] || libraries=(-lshell32)
    for name in "${@:2}"; do
        "$1" -O1 -s "-DNAME=\"$name\"" '-DVERSION="1.2.3"' -o "$BATS_FILE_TMPDIR/$name.exe" "$BATS_TEST_DIRNAME/stand_in.c" "${libraries[@]}"
    done
}

# A Wine of the file's own. What it starts must not keep bats' own files, which are 3 and 4.
use_prefix() {
    export WINEPREFIX=$BATS_FILE_TMPDIR/prefix WINEDEBUG=-all LC_ALL=C.UTF-8
}

end_prefix() {
    [ ! -e "$BATS_FILE_TMPDIR/prefix" ] || WINEPREFIX=$BATS_FILE_TMPDIR/prefix timeout 60 wineserver -k 3>&- 4>&- || true
}

windows_powershell() {
    "$PWSH_WINE" -NoProfile -NonInteractive "$@" 3>&- 4>&-
}

# The path as Windows has it.
windows() {
    printf 'Z:%s' "${1//\//\\}"
}

# make_archive DIRECTORY COMPONENT...: what archives unpack to. The NSSM in it is a text, and known.
make_archive() {
    local component
    ARCHIVE=$1
    mkdir -p "$ARCHIVE"/{bin,scripts/lib,share/windows-service}
    for component in "${@:2}"; do
        cp "$BATS_FILE_TMPDIR/task-messenger-$component.exe" "$ARCHIVE/bin/"
    done
    cp "$SCRIPTS"/{install_service_windows,uninstall_service_windows,service_control}.ps1 "$ARCHIVE/scripts/"
    cp "$SCRIPTS"/lib/*.ps1 "$ARCHIVE/scripts/lib/"
    cp "$REPOSITORY/extras/windows-service/nssm.json" "$ARCHIVE/share/windows-service/"
}

# make_nssm DIRECTORY: an nssm.exe and an nssm.zip there, which the archive's nssm.json is made to know. The file in its ZIP
# begins as a program does, and has every byte.
make_nssm() {
    mkdir -p "$1"
    python3 - "$1" "$ARCHIVE/share/windows-service/nssm.json" <<'END'
import hashlib, json, pathlib, sys, zipfile
directory, known = map(pathlib.Path, sys.argv[1:])
program = b"MZ" + bytes(range(256)) * 16
(directory / "nssm.exe").write_bytes(program)
with zipfile.ZipFile(directory / "nssm.zip", "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("nssm/win32/nssm.exe", b"another")
    file.writestr("nssm/win64/nssm.exe", program)
known.write_text(json.dumps({
    "version": "0.0-test", "url": "http://127.0.0.1:9/nssm.zip", "path_in_zip": "nssm/win64/nssm.exe",
    "zip_sha256": hashlib.sha256((directory / "nssm.zip").read_bytes()).hexdigest(),
    "exe_sha256": hashlib.sha256(program).hexdigest(), "exe_bytes": len(program),
}))
END
}

# make_checkout DIRECTORY: what archives are made of, as it is; or something in its place.
make_checkout() {
    local kind source
    mkdir -p "$1"/extras/{scripts/lib,distribution/lib}
    cp "$SCRIPTS/build_distribution.ps1" "$1/extras/scripts/"
    cp "$SCRIPTS"/lib/*.ps1 "$1/extras/scripts/lib/"
    cp "$REPOSITORY"/extras/distribution/lib/*.ps1 "$1/extras/distribution/lib/"
    cp "$REPOSITORY/extras/distribution/contents-windows" "$1/extras/distribution/"
    printf '[package]\nversion = "9"\n[workspace.package]\nedition = "2024"\nversion = "1.2.3"\n' >"$1/Cargo.toml"
    while read -r kind source; do
        [[ $kind =~ ^(file|printed)$ ]] || continue
        mkdir -p "$1/$(dirname "$source")"
        if [ -f "$REPOSITORY/$source" ]; then
            cp "$REPOSITORY/$source" "$1/$source"
        elif [[ $source != *\** ]]; then
            echo something >"$1/$source"
        fi
    done < <(awk '!/^#/ { print $3, $4 }' "$REPOSITORY/extras/distribution/contents-windows")
}

# answer VERB CODE [OUTPUT] [COMPLAINT]: what the programs are going to say.
answer() {
    echo "$2" >"$STAND_IN/$1.code"
    printf '%s' "${3:-}" >"$STAND_IN/$1.out"
    printf '%s' "${4:-}" >"$STAND_IN/$1.err"
}

calls() {
    cat "$STAND_IN/calls" 2>/dev/null
}

# All arguments of all calls in one line, without brackets.
said() {
    calls | sed 's/^\[\(.*\)\]$/\1/' | tr '\n' ' ' | sed 's/ $//'
}

# expect CODE [TEXT...]: what the last run ended with, and had in its output. PowerShell folds long lines of errors.
expect() {
    local text folded
    folded=$(tr -s '\r\n ' ' ' <<<"$output")
    if [ "$status" != "$1" ]; then
        printf 'exit code %s instead of %s:\n%s\n' "$status" "$1" "$output"
        return 1
    fi
    for text in "${@:2}"; do
        if [[ $folded != *"$text"* ]]; then
            printf 'there is no "%s" in:\n%s\n' "$text" "$output"
            return 1
        fi
    done
}

# wait_until COMMAND...
wait_until() {
    local deadline=$((SECONDS + 30))
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -rt 0.1 <> <(:) || true
    done
}

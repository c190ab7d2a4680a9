#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # tests are subshells
# Archives for Windows as they are made on Windows: under Wine, with a stand-in for the programs; nothing is built.

load helper

setup_file() {
    has_powershell_for_windows || return 0
    use_prefix
    build_programs x86_64-w64-mingw32-gcc task-messenger task-messenger-manager task-messenger-worker
    export CHECKOUT="$BATS_FILE_TMPDIR/eine Kopie" BIN=$BATS_FILE_TMPDIR/bin
    mkdir "$BIN"
    mv "$BATS_FILE_TMPDIR"/*.exe "$BIN/"
    make_checkout "$CHECKOUT"
    # There is no Python in Wine.
    sed -i 's/ printed / file /' "$CHECKOUT/extras/distribution/contents-windows"
}

teardown_file() {
    end_prefix
}

setup() {
    need_powershell_for_windows
    OUT=$BATS_TEST_TMPDIR/out
    export SOURCE_DATE_EPOCH=1700000000
}

# pack [ARGUMENTS...]
pack() {
    run windows_powershell -File "$(windows "$CHECKOUT/extras/scripts/build_distribution.ps1")" \
        -BinDir "$(windows "$BIN")" -Out "$(windows "$OUT")" "$@"
}

# What the list says for a component; with `always` only what isn't for services.
wanted() {
    awk -v c="$1" -v when="${2:-}" '!/^#/ && NF && ($1 == c || $1 == "both") && (when == "" || $2 == when) { print $4, $5 }' \
        "$CHECKOUT/extras/distribution/contents-windows" | while read -r source place; do
        if [[ $source == *\** ]]; then
            for file in "$CHECKOUT"/$source; do echo "$place${file##*/}"; done
        else
            echo "$place"
        fi
    done
}

@test "archives have what the list says, in one directory, with sums that are right" {
    local component name
    pack
    expect 0
    [ "$(find "$OUT" -type f | wc -l)" = 4 ]
    for component in manager worker; do
        name=task-messenger-$component-v1.2.3-windows-x64
        (cd "$OUT" && sha256sum --quiet -c "$name.zip.sha256")
        python3 - "$OUT/$name.zip" "$name" >"$BATS_TEST_TMPDIR/names" <<'END'
import sys, zipfile
for item in zipfile.ZipFile(sys.argv[1]).infolist():
    top, place = item.orig_filename.split("/", 1)
    assert top == sys.argv[2] and "\\" not in place, item.orig_filename
    assert item.date_time == (2023, 11, 14, 22, 13, 20), item.date_time
    print(place)
END
        diff <({ wanted "$component"; echo CONTENTS; } | LC_ALL=C sort) <(LC_ALL=C sort "$BATS_TEST_TMPDIR/names")
        (cd "$BATS_TEST_TMPDIR" && python3 -m zipfile -e "$OUT/$name.zip" . && cd "$name" && sha256sum --quiet -c CONTENTS)
        [ "$(wc -l <"$BATS_TEST_TMPDIR/$name/CONTENTS")" = "$(wanted "$component" | wc -l)" ]
        cmp "$BATS_TEST_TMPDIR/$name/bin/task-messenger-$component.exe" "$BIN/task-messenger-$component.exe"
        cmp "$BATS_TEST_TMPDIR/$name/share/windows-service/nssm.json" "$REPOSITORY/extras/windows-service/nssm.json"
    done
}

@test "without services, one component; and the same bytes again" {
    pack -Component worker -NoService
    expect 0
    local zip=$OUT/task-messenger-worker-v1.2.3-windows-x64.zip before
    diff <({ wanted worker always; echo CONTENTS; } | LC_ALL=C sort) \
        <(python3 -c 'import sys, zipfile; print(*(n.split("/", 1)[1] for n in zipfile.ZipFile(sys.argv[1]).namelist()), sep="\n")' "$zip" |
            LC_ALL=C sort)
    before=$(sha256sum "$zip")
    pack -Component worker -NoService
    expect 0
    [ "$before" = "$(sha256sum "$zip")" ]
    [ "$(find "$OUT" -type f | wc -l)" = 2 ]
}

@test "what is missing, or is no program for Windows, is named, and nothing is delivered" {
    mv "$CHECKOUT/docs/MONITORING.md" "$BATS_TEST_TMPDIR/"
    pack
    mv "$BATS_TEST_TMPDIR/MONITORING.md" "$CHECKOUT/docs/"
    expect 1 "the list of contents names what is not there: docs/MONITORING.md"
    SOURCE_DATE_EPOCH=yesterday pack
    expect 1 "SOURCE_DATE_EPOCH is no number of seconds: yesterday"
    cp -r "$BIN" "$BATS_TEST_TMPDIR/bin"
    BIN=$BATS_TEST_TMPDIR/bin
    rm "$BIN/task-messenger-worker.exe"
    pack
    expect 1 "there is no program" "task-messenger-worker.exe"
    cp /bin/true "$BIN/task-messenger-worker.exe"
    pack
    expect 1 "task-messenger-worker.exe is no program for Windows on x64"
    compile task-messenger-worker 1.2.4
    pack
    expect 1 "task-messenger-worker has version 1.2.4, not 1.2.3 as the source or the others"
    [ ! -e "$OUT" ]
}

# compile NAME VERSION [FLAGS...]: a stand-in in the programs' directory.
compile() {
    x86_64-w64-mingw32-gcc -s "-DNAME=\"$1\"" "-DVERSION=\"$2\"" -o "$BIN/$1.exe" "$BATS_TEST_DIRNAME/stand_in.c" "${@:3}" -lshell32
}

@test "programs that a fresh Windows can't run, or that know where they were built, are refused" {
    local library path
    cp -r "$BIN" "$BATS_TEST_TMPDIR/bin"
    BIN=$BATS_TEST_TMPDIR/bin
    for library in VCRUNTIME140 msvcp140 libgcc_s_seh-1; do
        echo '__declspec(dllexport) int answer(void) { return 42; }' | x86_64-w64-mingw32-gcc -shared -x c - -o "$BATS_TEST_TMPDIR/$library.dll"
        compile task-messenger-worker 1.2.3 -DNEEDS "$BATS_TEST_TMPDIR/$library.dll"
        pack -Component worker
        expect 1 "task-messenger-worker.exe needs what Windows does not bring: $library.dll"
    done
    for path in "$(windows "$CHECKOUT")/crates/worker/src/main.rs" 'C:/Users/x/.cargo/registry/src/index/ring/lib.rs' \
        'C:\Users\x\.Rustup\toolchains\stable\lib.rs'; do
        compile task-messenger-worker 1.2.3 "-DKNOWS=\"${path//\\/\\\\}\""
        pack -Component worker
        expect 1 "task-messenger-worker.exe has paths of the machine that it was built on, such as: "
    done
    compile task-messenger-worker 1.2.3 '-DKNOWS="/usr/src/cargo/registry/src/index/ring/lib.rs"'
    pack -Component worker
    expect 0
}

#!/usr/bin/env bats
# shellcheck disable=SC2143,SC2012,SC2030,SC2031,SC2034,SC2016 # `! grep` would not fail a test; names are ours; tests are subshells
# How archives and packages are made, with small stand-ins for the programs, cargo and rustc: nothing is built. Needs bats, a
# C compiler, binutils, python3 and dpkg-deb: `bats extras/tests/distribution.bats`. One test asks the real cargo.

setup_file() {
    bats_require_minimum_version 1.5.0
    export HERE=$BATS_FILE_TMPDIR/checkout BIN=$BATS_FILE_TMPDIR/bin SOURCE_DATE_EPOCH=1700000000
    local top kind source
    top=$(realpath "$BATS_TEST_DIRNAME/../..")
    mkdir -p "$HERE/extras/scripts" "$BIN"
    cp -r "$top/extras/distribution" "$HERE/extras/"
    cp "$top/extras/scripts/build_distribution.sh" "$HERE/extras/scripts/"
    printf '[workspace.package]\nversion = "1.2.3"\n' >"$HERE/Cargo.toml"
    # What the list names, as it is; or something in its place, so that this tests the list and not what is listed.
    while read -r kind source; do
        [[ $source == */* ]] || continue
        mkdir -p "$HERE/${source%/*}"
        if compgen -G "$top/$source" >/dev/null; then
            # shellcheck disable=SC2086 # a pattern
            cp "$top"/$source "$HERE/${source%/*}/"
        elif [ "$kind" = adapted ]; then
            echo "ExecStart=/opt/task-messenger/bin/x" >"$HERE/${source/\*/some}"
        else
            echo "something" >"$HERE/${source/\*/some}"
        fi
    done < <(awk '!/^#/ && ($3 == "file" || $3 == "adapted") { print $3, $5 }' "$top/extras/distribution/contents")
    cp "$top/LICENSE" "$top/CHANGELOG.md" "$HERE/"
    program task-messenger 1
    program task-messenger-manager 8
    program task-messenger-worker 8
    make_crates
    make_tools
}

# program NAME SECTION [VERSION] [TEXT]: makes a program that answers as ours do, and has a text in it.
program() {
    local source=$BATS_FILE_TMPDIR/$1.c
    cat >"$source" <<'END'
#include <stdio.h>
#include <string.h>
const char *volatile text = TEXT;
int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "--version")) return printf("%s %s\n", NAME, VERSION) < 0;
    if (count == 3 && !strcmp(arguments[1], "generate")) {
        if (!strcmp(arguments[2], "man")) return printf(".TH %s %s\n", NAME, SECTION) < 0;
        return printf("# %s for %s\n", arguments[2], NAME) < 0;
    }
    return fprintf(stderr, "unknown: %s\n", text) > 0;
}
END
    cc -g -o "$BIN/$1" "-DNAME=\"$1\"" "-DSECTION=\"$2\"" "-DVERSION=\"${3:-1.2.3}\"" "-DTEXT=\"${4:-}\"" "$source"
}

# Crates of others: two with a text that is the same but for white space, one with notices deeper down and in a file of its
# own choice, one without any. What is not linked is under a licence that would be refused.
make_crates() {
    export CRATES=$BATS_FILE_TMPDIR/crates LINKED='task-messenger-cli|MIT|ada tests-only:dev
task-messenger-manager|MIT|ada brook builds-only:build derive-macros
task-messenger-worker|MIT|brook bare
task-messenger-bench|MIT|bench-only
ada|MIT|deep
brook|Zlib OR GPL-2.0-only|
deep|MIT/Apache-2.0||TERMS.txt
bare|(Apache-2.0 AND Zlib) OR MIT|
tests-only|GPL-3.0-only|
builds-only|GPL-3.0-only|
derive-macros|MIT|macros-need
macros-need|GPL-3.0-only|
bench-only|GPL-3.0-only|'
    mkdir -p "$CRATES"/{ada/src/inner,brook,deep,bare/src}
    sed 's/^Copyright .*/Copyright (c) 2001 Ada and Deep/' "$BATS_TEST_DIRNAME/../../LICENSE" >"$CRATES/ada/license-mit.md"
    sed 's/^/  /; s/$/\r/' "$CRATES/ada/license-mit.md" >"$CRATES/deep/LICENCE"
    echo "Copyright (c) 2002 Inner" >"$CRATES/ada/src/inner/Notice"
    echo "Copyright (c) 2003 Terms" >"$CRATES/deep/TERMS.txt"
    echo "no licence but a program" | tee "$CRATES/ada/src/license.rs" >"$CRATES/bare/src/copyright.c"
    printf '%s\n' "Copyright © 2004 Brook" "2. Altered source versions must be plainly marked as such" \
        "3. This notice may not be removed or altered" >"$CRATES/brook/COPYING"
    metadata "$CRATES" <<<"$LINKED" >"$BATS_FILE_TMPDIR/metadata"
}

# metadata DIRECTORY: prints what cargo says of the crates of lines `NAME|LICENCE|DEPENDENCIES|LICENCE FILE`. A dependency may
# end in :dev or :build; ours begin with task-messenger-, macros end in -macros.
metadata() {
    python3 -c '
import json, sys
packages, nodes = [], []
for line in sys.stdin.read().splitlines():
    name, licence, needed, file = (line + "|").split("|")[:4]
    packages.append({"id": name, "name": name, "version": "1.0.0", "license": licence or None, "license_file": file or None,
        "manifest_path": f"{sys.argv[1]}/{name}/Cargo.toml", "authors": [f"The {name} authors"],
        "repository": f"https://{name}.example.org", "targets": [{"kind": ["proc-macro" if "-macros" in name else "lib"]}]})
    kinds = [(*dependency.split(":"), None)[:2] for dependency in needed.split()]
    nodes.append({"id": name, "deps": [{"pkg": name, "dep_kinds": [{"kind": kind}]} for name, kind in kinds]})
print(json.dumps({"packages": packages, "resolve": {"nodes": nodes},
    "workspace_members": [node["id"] for node in nodes if node["id"].startswith("task-messenger-")]}))' "$1"
}

# A cargo and a compiler that only answer questions.
make_tools() {
    export REAL_PATH=$PATH TOOLS=$BATS_FILE_TMPDIR/tools RUST=$BATS_FILE_TMPDIR/rust/share/doc/rust
    mkdir -p "$TOOLS" "$RUST/licenses"
    printf '#!/bin/sh\nexec cat "%s"\n' "$BATS_FILE_TMPDIR/metadata" >"$TOOLS/cargo"
    printf '#!/bin/sh\necho "%s"\n' "$BATS_FILE_TMPDIR/rust" >"$TOOLS/rustc"
    chmod +x "$TOOLS"/*
    export PATH=$TOOLS:$PATH
    cat >"$RUST/COPYRIGHT-library.html" <<'END'
<html><head><title>Not shown</title></head><body><h1>Copyright notices</h1>
<div><p><b>License:</b> Unicode-3.0</p><p><b>Copyright:</b> 1991 Somebody &#38; Sons</p></div>
<h3>inner-2.0.0</h3> <p><b>License:</b> MIT</p> <p>Notices:
    <details><summary><code>NOTICE</code></summary><pre>
Copyright (c)  2002
Inner</pre></details><details><summary><code>COPYING</code></summary><pre>
    Copyright &#60;c&#62; 2005 Library</pre></details>
</body></html>
END
    echo "The text of that licence" >"$RUST/licenses/Unicode-3.0.txt"
}

licences() {
    "$HERE/extras/distribution/licences.py" "$@"
}

# with LINE...: the text with more crates, each a line as for `metadata`; the worker needs the first.
with() {
    printf '%s\n' "$LINKED" "$@" |
        sed "s/^task-messenger-worker|.*/& ${1%%|*}/" | metadata "$CRATES" >"$BATS_TEST_TMPDIR/metadata"
    licences --metadata "$BATS_TEST_TMPDIR/metadata"
}

setup() {
    OUT=$BATS_TEST_TMPDIR/out
    LIST=$BATS_TEST_TMPDIR/contents
    cp "$HERE/extras/distribution/contents" "$LIST"
}

build() {
    "$HERE/extras/scripts/build_distribution.sh" "$@" --out "$OUT"
}

pack() {
    build "$@" --bin-dir "$BIN"
}

# Other programs than those of all tests.
own_programs() {
    cp -r "$BIN" "$BATS_TEST_TMPDIR/bin"
    BIN=$BATS_TEST_TMPDIR/bin
}

names() {
    tar tzf "$OUT/task-messenger-$1-v1.2.3-linux-$(uname -m).tar.gz" | grep -v '/$' | cut -d / -f 2- | LC_ALL=C sort
}

# Fails with this status and a message that has this text, and leaves nothing behind.
refuses() {
    local status=$1 text=$2
    shift 2
    run "-$status" "$@"
    [[ $output == *"$text"* ]] || { echo "$output"; return 1; }
    [ -z "$(ls -A "$OUT" 2>/dev/null)" ] || { ls -A "$OUT"; return 1; }
}

@test "the help names every option" {
    run -0 "$HERE/extras/scripts/build_distribution.sh" --help
    local option
    for option in --no-service --deb --deb-revision --bin-dir --allow-builder-paths --verify-rebuild --out --contents; do
        [[ $output == *"$option"* ]]
    done
}

@test "command lines that make no sense are refused" {
    refuses 64 "say which" build
    refuses 64 "unknown: client" build client
    refuses 64 "unknown: --fast" build all --fast
    refuses 64 "name one, or all" build manager manager
    refuses 64 "--deb and --no-service" build all --deb --no-service
    refuses 64 "is for the programs of --bin-dir" build all --allow-builder-paths
    refuses 64 "--bin-dir takes them" pack all --verify-rebuild
    refuses 64 "is a number" build all --deb-revision x
    refuses 64 "linux or windows" build all --target beos
    refuses 64 "no Debian packages for Windows" build all --deb --target windows
    refuses 64 "--contents is something else" build all --verify-rebuild --contents "$LIST"
    refuses 64 "--out needs a value" "$HERE/extras/scripts/build_distribution.sh" all --out
    refuses 1 "there is no directory" build all --bin-dir /nowhere
    SOURCE_DATE_EPOCH=yesterday refuses 1 "no number of seconds" pack all
}

@test "without git and without SOURCE_DATE_EPOCH the time of files is asked for" {
    unset SOURCE_DATE_EPOCH
    GIT_CEILING_DIRECTORIES=$BATS_FILE_TMPDIR refuses 1 "say in SOURCE_DATE_EPOCH" pack all
}

@test "an archive has what the list says, one top directory, and a list of sums that is right" {
    pack all
    local component name wanted
    for component in manager worker; do
        name=task-messenger-$component-v1.2.3-linux-$(uname -m)
        (cd "$OUT" && sha256sum --quiet -c "$name.tar.gz.sha256")
        wanted=$(cd "$HERE" && awk -v c="$component" '!/^#/ && ($1 == c || $1 == "both") { print $5, $6 }' "$LIST" |
            while read -r source place; do
                if [[ $source == *\** ]]; then
                    for file in $source; do echo "$place${file##*/}"; done
                else
                    echo "$place"
                fi
            done)
        diff <(printf '%s\nCONTENTS\n' "$wanted" | LC_ALL=C sort) <(names "$component")
        [ -z "$(tar tzf "$OUT/$name.tar.gz" | grep -v "^$name/")" ]
        # Nobody's own user, and nothing that others may write.
        [ -z "$(tar tvzf "$OUT/$name.tar.gz" --numeric-owner | grep -v -E '^[d-]rw.r-.r-. 0/0 ')" ]
        tar xzf "$OUT/$name.tar.gz" -C "$BATS_TEST_TMPDIR"
        cd "$BATS_TEST_TMPDIR/$name"
        awk '{ print $1 "  " $3 }' CONTENTS | sha256sum --quiet --strict -c -
        diff <(awk '{ print $3 }' CONTENTS) <(find . -type f ! -name CONTENTS -printf '%P\n' | LC_ALL=C sort)
        diff <(awk '{ print $2 }' CONTENTS) <(awk '{ print $3 }' CONTENTS | xargs stat -c 0%a)
        [ "$(bin/task-messenger-$component --version)" = "task-messenger-$component 1.2.3" ]
        # Units are as for an archive.
        grep -q /opt/task-messenger/bin "share/systemd/task-messenger-$component.service"
    done
}

@test "one component's archive is the same whether the other is made too" {
    pack worker
    [ "$(ls "$OUT" | wc -l)" = 2 ]
    mv "$OUT" "$OUT.one"
    pack all
    cmp "$OUT.one/"*worker*.gz "$OUT/"*worker*.gz
}

@test "--no-service leaves out units, scripts and their guide, and nothing else" {
    pack worker
    names worker >"$BATS_TEST_TMPDIR/with"
    pack worker --no-service
    names worker >"$BATS_TEST_TMPDIR/without"
    [ -z "$(comm -13 "$BATS_TEST_TMPDIR/with" "$BATS_TEST_TMPDIR/without")" ]
    run -0 comm -23 "$BATS_TEST_TMPDIR/with" "$BATS_TEST_TMPDIR/without"
    [ -z "$(grep -v -E '^(share/(systemd|logrotate|needrestart)/|scripts/|share/doc/SERVICES-LINUX.md$|share/man/man8/task-messenger-service.8$)' <<<"$output")" ]
    [ -n "$output" ]
    [ -z "$(grep -E '^(share/(systemd|logrotate|needrestart)|scripts)/' "$BATS_TEST_TMPDIR/without")" ]
    # Nor is any of it needed then.
    sed -i 's,extras/systemd/task-messenger.target,extras/systemd/nothing,' "$LIST"
    pack manager --no-service --contents "$LIST"
}

@test "packed twice, elsewhere and by another mask, it is the same bytes" {
    pack all --deb
    mv "$OUT" "$OUT.first"
    cp -r "$HERE" "$BATS_TEST_TMPDIR/moved"
    find "$BATS_TEST_TMPDIR/moved" -exec touch -d '2001-01-01' {} +
    HERE=$BATS_TEST_TMPDIR/moved
    (umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 pack all --deb)
    [ "$(ls "$OUT" | wc -l)" = 10 ]
    local file
    for file in "$OUT"/*; do
        cmp "$file" "$OUT.first/${file##*/}"
    done
}

@test "debug information does not get into archives, names of functions do" {
    pack worker
    tar xzf "$OUT"/*.tar.gz -C "$BATS_TEST_TMPDIR"
    run -0 readelf -S "$BATS_TEST_TMPDIR"/task-messenger-worker-*/bin/task-messenger-worker
    [[ $output != *.debug_info* && $output == *.symtab* ]]
}

@test "the packages share nothing, need each other's version, and have nobody's places of an archive" {
    pack all --deb
    local package
    for package in task-messenger task-messenger-manager task-messenger-worker; do
        dpkg-deb -c "$OUT/${package}_1.2.3-1_"*.deb | awk '!/^d/ { print $6 }' >"$BATS_TEST_TMPDIR/$package.list"
        dpkg-deb -R "$OUT/${package}_1.2.3-1_"*.deb "$BATS_TEST_TMPDIR/$package"
        (cd "$BATS_TEST_TMPDIR/$package" && md5sum --quiet -c DEBIAN/md5sums)
        # The scripts of the archive, which the control script is one of, know its places; nothing else does.
        [ -z "$(grep -rl /opt/task-messenger "$BATS_TEST_TMPDIR/$package/usr" | grep -v -e /scripts/ -e /doc/)" ]
        [ -z "$(grep -E '@[A-Z]+@|#INCLUDE' "$BATS_TEST_TMPDIR/$package/DEBIAN"/*)" ]
    done
    [ -z "$(sort "$BATS_TEST_TMPDIR"/*.list | uniq -d)" ]
    grep -q 'Depends: .*task-messenger (= 1.2.3-1)' "$BATS_TEST_TMPDIR/task-messenger-worker/DEBIAN/control"
    [ -z "$(grep -h etc/task-messenger "$BATS_TEST_TMPDIR"/*/DEBIAN/conffiles)" ]
    [ -f "$BATS_TEST_TMPDIR/task-messenger/usr/bin/task-messenger-service" ]
}

@test "maintainer scripts start nothing" {
    local script
    for script in "$HERE"/extras/distribution/debian/{component,common}.postinst; do
        [ -z "$(grep -E '^[^#]*(deb-systemd-invoke|systemctl)( -[^ ]*)* (start|restart|reload-or-restart)' "$script" | grep -v echo)" ]
    done
}

@test "a version before a release is older for dpkg too, and a revision newer" {
    own_programs
    program task-messenger 1 2.0.0-rc.1
    program task-messenger-manager 8 2.0.0-rc.1
    program task-messenger-worker 8 2.0.0-rc.1
    pack all --deb --deb-revision 3
    local version
    version=$(dpkg-deb -f "$OUT"/task-messenger_*.deb Version)
    [ "$version" = 2.0.0~rc.1-3 ]
    dpkg --compare-versions "$version" lt 2.0.0-1
}

@test "programs that must not be delivered are refused" {
    own_programs
    rm "$BIN/task-messenger-worker"
    pack manager
    rm -r "$OUT"
    refuses 1 "there is no program" pack worker
    printf '#!/bin/sh\necho task-messenger-worker 1.2.3\n' >"$BIN/task-messenger-worker"
    chmod +x "$BIN/task-messenger-worker"
    refuses 1 "no program for Linux" pack worker
    program task-messenger-worker 8 1.2.4
    refuses 1 "has version 1.2.4, not 1.2.3" pack worker
    program task-messenger-worker 8 nightly
    refuses 1 "strange version" pack worker
    program task-messenger-worker 1
    refuses 1 "says section '1'" pack worker
    program task-messenger-worker 8
    truncate -s 6000 "$BIN/task-messenger-worker"
    refuses 1 "could not be stripped" pack worker
}

@test "a path of the builder in a program is refused, unless it is only for trying out" {
    own_programs
    program task-messenger-worker 8 1.2.3 "at $HERE/crates/worker/src/main.rs:1"
    refuses 1 "paths of the machine that it was built on" pack worker
    program task-messenger-worker 8 1.2.3 /home/somebody/.cargo/registry/src/index/tokio-1/src/lib.rs
    refuses 1 "/.cargo/registry/" pack worker
    pack worker --allow-builder-paths
}

@test "a symbol of a newer C library is refused by name" {
    mkdir "$BATS_TEST_TMPDIR/tools"
    printf '#!/bin/sh\necho "DF *UND* (GLIBC_2.4) old"\necho "DF *UND* (GLIBC_2.34) main"\n%s\n' \
        'echo "DF *UND* (GLIBC_2.36) pidfd_open"' >"$BATS_TEST_TMPDIR/tools/objdump"
    chmod +x "$BATS_TEST_TMPDIR/tools/objdump"
    PATH=$BATS_TEST_TMPDIR/tools:$PATH refuses 1 "pidfd_open" pack all
    sed -i '$d' "$BATS_TEST_TMPDIR/tools/objdump"
    PATH=$BATS_TEST_TMPDIR/tools:$PATH pack all
}

@test "everything that is missing is named before anything is built" {
    sed -i 's,extras/systemd/task-messenger.target,extras/systemd/nothing.target,; s,lib/\*\.sh,lib/*.none,' "$LIST"
    refuses 1 "extras/systemd/nothing.target" build all --contents "$LIST"
    [[ $output == *"extras/scripts/lib/*.none"* ]]
    refuses 1 "no list of contents" build all --contents "$BATS_TEST_TMPDIR/none"
}

@test "a damaged list is refused, with its line" {
    local line
    while IFS='|' read -r line text; do
        printf '# a comment\n\n%s\n' "$line" >"$LIST"
        refuses 1 "$text" pack all --contents "$LIST"
        [[ $output == *:3:* ]]
    done <<'END'
both always file 0644 LICENSE share/doc/LICENSE common|there must be eight columns
both always file 0644 LICENSE share/doc/LICENSE common /usr/x more|there must be eight columns
client always file 0644 LICENSE share/doc/LICENSE common /usr/x|no component
both sometimes file 0644 LICENSE share/doc/LICENSE common /usr/x|neither always nor service
both always thing 0644 LICENSE share/doc/LICENSE common /usr/x|no kind
both always file 644 LICENSE share/doc/LICENSE common /usr/x|no mode
both always file 0644 LICENSE ../LICENSE common /usr/x|no place in an archive
both always file 0644 LICENSE /LICENSE common /usr/x|no place in an archive
both always file 0644 LICENSE share/doc/LICENSE common usr/x|no place in a package
both always file 0644 LICENSE share/doc/LICENSE common /usr/../x|no place in a package
both always file 0644 LICENSE share/doc/LICENSE client /usr/x|no package
both always file 0644 LICENSE - common /usr/x|a place needs somebody
both always file 0644 LICENSE share/doc/LICENSE - /usr/x|a place needs somebody
both always link 0644 ../x bin/x common /usr/x|archives have no links
both always file 0644 LICENSE share/doc/ - -|may a place end in /
both always file 0644 */x share/doc/ - -|stands only in a file's name
END
}

@test "two entries for one place are refused" {
    printf '%s\n' 'both always file 0644 LICENSE share/a - -' 'worker always file 0644 CHANGELOG.md share/a - -' >"$LIST"
    refuses 1 "two entries of the list for share/a" pack all --contents "$LIST"
    printf '%s\n' '- always file 0644 LICENSE - common /usr/a' '- always file 0644 CHANGELOG.md - worker /usr/a' >"$LIST"
    refuses 1 "two entries of the list for /usr/a" pack all --contents "$LIST"
}

# A repository of its own, and a cargo that takes ready programs: `own_repository [COMMAND]`, which it runs beforehand.
own_repository() {
    own_programs
    cp -r "$HERE" "$BATS_TEST_TMPDIR/repository"
    HERE=$BATS_TEST_TMPDIR/repository
    git -C "$HERE" init -q
    git -C "$HERE" add -A
    git -C "$HERE" -c user.name=x -c user.email=x@example.org commit -q -m x
    mkdir "$BATS_TEST_TMPDIR/tools"
    printf '#!/bin/sh\n[ "$1" = -vV ] && echo "commit-hash: 1" || echo /rust\n' >"$BATS_TEST_TMPDIR/tools/rustc"
    cat >"$BATS_TEST_TMPDIR/tools/cargo" <<END
#!/usr/bin/env bash
[ "\$1" = build ] || exec "$TOOLS/cargo" "\$@"
printf '%s\n' "\$*" "\$CARGO_ENCODED_RUSTFLAGS" >>"$BATS_TEST_TMPDIR/calls"
mkdir -p "\$CARGO_TARGET_DIR/release"
cp "$BIN"/* "\$CARGO_TARGET_DIR/release/"
${1:-}
END
    chmod +x "$BATS_TEST_TMPDIR/tools"/*
    PATH=$BATS_TEST_TMPDIR/tools:$PATH
}

@test "two builds of the same in two directories are delivered" {
    own_repository
    RUSTFLAGS=-Ctarget-cpu=native build all --deb --verify-rebuild
    [ "$(ls "$OUT" | wc -l)" = 10 ]
    (cd "$OUT" && cat ./*.sha256 | sha256sum --quiet -c -)
    [ "$(grep -c -- '^build --release --locked' "$BATS_TEST_TMPDIR/calls")" = 2 ]
    # Both had the directory that they were in taken out.
    [ "$(grep -o 'prefix=[^=]*/source=' "$BATS_TEST_TMPDIR/calls" | sort -u | wc -l)" = 2 ]
}

@test "two builds that differ are refused, and neither is delivered" {
    # shellcheck disable=SC2016 # for the script
    own_repository 'echo "$CARGO_TARGET_DIR" >>"$CARGO_TARGET_DIR/../../LICENSE"'
    refuses 1 "two builds of the same source differ" build worker --verify-rebuild
}

@test "what isn't committed is not verified" {
    own_repository
    echo changed >>"$HERE/LICENSE"
    refuses 1 "not everything is committed" build all --verify-rebuild
}

@test "a build that fails delivers nothing" {
    own_repository 'exit 101'
    refuses 1 "could not be built" build all
}

@test "the source's version must be the programs'" {
    own_repository
    sed -i 's/1.2.3/1.2.4/' "$HERE/Cargo.toml"
    refuses 1 "not 1.2.4 as the source" build all
}

@test "archives and packages have the licences of all that is linked" {
    cp -r "$TOOLS" "$BATS_TEST_TMPDIR/tools"
    # Cargo is asked about what the programs are for.
    printf '#!/bin/sh\necho "$*" >"%s"\nexec cat "%s"\n' "$BATS_TEST_TMPDIR/call" "$BATS_FILE_TMPDIR/metadata" \
        >"$BATS_TEST_TMPDIR/tools/cargo"
    PATH=$BATS_TEST_TMPDIR/tools:$PATH pack all --deb
    [ "$(cat "$BATS_TEST_TMPDIR/call")" = "metadata --locked --format-version 1 --filter-platform $(uname -m)-unknown-linux-gnu" ]
    licences --metadata "$BATS_FILE_TMPDIR/metadata" >"$BATS_TEST_TMPDIR/wanted"
    local name file package
    for name in manager worker; do
        name=task-messenger-$name-v1.2.3-linux-$(uname -m)
        tar xzOf "$OUT/$name.tar.gz" "$name/share/doc/THIRD-PARTY-LICENCES" | cmp - "$BATS_TEST_TMPDIR/wanted"
    done
    file=usr/share/doc/task-messenger/THIRD-PARTY-LICENCES.gz
    dpkg-deb --fsys-tarfile "$OUT"/task-messenger_*.deb | tar xO "./$file" | zcat | cmp - "$BATS_TEST_TMPDIR/wanted"
    for package in task-messenger task-messenger-manager task-messenger-worker; do
        dpkg-deb --fsys-tarfile "$OUT/${package}_"*.deb | tar xO "./usr/share/doc/$package/copyright" | grep -q "/$file"
    done
}

@test "a licence that is refused stops the delivery" {
    mkdir "$BATS_TEST_TMPDIR/tools"
    with 'evil|GPL-3.0-only|' 2>/dev/null || true
    printf '#!/bin/sh\nexec cat "%s"\n' "$BATS_TEST_TMPDIR/metadata" >"$BATS_TEST_TMPDIR/tools/cargo"
    chmod +x "$BATS_TEST_TMPDIR/tools/cargo"
    PATH=$BATS_TEST_TMPDIR/tools:$PATH refuses 1 "evil 1.0.0 is under GPL-3.0-only" pack all --deb
}

@test "the licences are of the crates that are linked, each text once" {
    local crate
    run -0 licences --metadata "$BATS_FILE_TMPDIR/metadata"
    for crate in 'ada|MIT' 'bare|(Apache-2.0 AND Zlib) OR MIT' 'brook|Zlib OR GPL-2.0-only' 'deep|MIT/Apache-2.0'; do
        [[ $output == *"${crate%|*} 1.0.0
    ${crate#*|}
    https://${crate%|*}.example.org
"* ]]
    done
    [[ $output != *-only\ 1* && $output != *macros* && $output != *task-messenger-* && $output != *"but a program"* ]]
    # The titles of the texts, and then the texts.
    diff <(grep -A 1 '^====' <<<"$output" | grep -v -e '^==' -e '^--') - <<'END'
ada 1.0.0 (license-mit.md), deep 1.0.0 (LICENCE)
ada 1.0.0 (src/inner/Notice), the Rust standard library (inner-2.0.0, NOTICE)
brook 1.0.0 (COPYING)
deep 1.0.0 (TERMS.txt)
the Rust standard library
the Rust standard library (Unicode-3.0)
the Rust standard library (inner-2.0.0, COPYING)
END
    for crate in "2001 Ada and Deep" "2002 Inner" "2003 Terms" "2004 Brook" "<c> 2005 Library" "The text of that licence" \
        "Copyright: 1991 Somebody & Sons" "authors: The bare authors" "THE SOFTWARE IS PROVIDED"; do
        [ "$(grep -c -F "$crate" <<<"$output")" = 1 ]
    done
}

@test "whatever order cargo has, and whoever asks, the licences are the same bytes" {
    licences --metadata "$BATS_FILE_TMPDIR/metadata" >"$BATS_TEST_TMPDIR/one"
    cp -r "$CRATES" "$BATS_TEST_TMPDIR/elsewhere"
    tac <<<"$LINKED" | metadata "$BATS_TEST_TMPDIR/elsewhere" >"$BATS_TEST_TMPDIR/metadata"
    (cd / && env -i PATH="$PATH" LC_ALL=C PYTHONHASHSEED=7 PYTHONUTF8=0 \
        "$HERE/extras/distribution/licences.py" --metadata "$BATS_TEST_TMPDIR/metadata") >"$BATS_TEST_TMPDIR/two"
    cmp "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
    [ -z "$(grep -F "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR/one")" ]
}

@test "a crate whose licence is not allowed is refused by name, and one that offers another is not" {
    local licence
    for licence in GPL-3.0-only 'MIT AND GPL-3.0-only' 'MIT AND (MPL-2.0 OR GPL-2.0+)' 'Apache-2.0 WITH Classpath-exception-2.0' \
        LGPL-2.1/AGPL-3.0; do
        refuses 1 "evil 1.0.0 is under $licence, which is not allowed" with "evil|$licence|"
    done
    refuses 1 "evil 1.0.0 says no licence" with 'evil||'
    for licence in 'MIT OR' '(MIT' '(MIT MIT' 'MIT)' 'MIT MIT' 'AND MIT' 'MIT WITH'; do
        refuses 1 "evil 1.0.0 has a licence expression that can't be read: $licence" with "evil|$licence|"
    done
    with 'good|GPL-3.0-only OR (Zlib AND MIT)|' | grep -q '^good 1.0.0$'
    # All that is wrong at once, also what another needs.
    refuses 1 "worse 1.0.0 is under MPL-2.0" with 'evil|GPL-3.0-only|worse' 'worse|MPL-2.0|'
    [[ $output == *"evil 1.0.0 is under GPL-3.0-only"* ]]
}

@test "a crate whose licence has its text nowhere is refused by name" {
    local licence
    for licence in BSD-3-Clause 'Apache-2.0 AND MIT' 'Apache-2.0 WITH LLVM-exception OR GPL-2.0-only'; do
        refuses 1 "lonely 1.0.0 is under $licence, and no file" with "lonely|$licence|"
    done
    # A licence file that the manifest names and nobody packed.
    refuses 1 "lost 1.0.0: a licence file can't be read" with 'lost|MIT||NOTHING'
}

@test "of a standard library without documents there is one paragraph, and a crate must have the text" {
    mkdir "$BATS_TEST_TMPDIR/tools"
    printf '#!/bin/sh\necho /nowhere\n' >"$BATS_TEST_TMPDIR/tools/rustc"
    chmod +x "$BATS_TEST_TMPDIR/tools/rustc"
    PATH=$BATS_TEST_TMPDIR/tools:$PATH
    run -0 licences --metadata "$BATS_FILE_TMPDIR/metadata"
    [[ $output == *"MIT OR Apache-2.0; copyright: The Rust Project Developers"* ]]
    printf '%s\n' 'task-messenger-cli|MIT|brook' 'task-messenger-manager|MIT|' 'task-messenger-worker|MIT|' 'brook|Zlib|' |
        metadata "$CRATES" >"$BATS_TEST_TMPDIR/metadata"
    refuses 1 "the Rust standard library is under MIT OR Apache-2.0, and no file" licences --metadata "$BATS_TEST_TMPDIR/metadata"
}

@test "every crate that is linked is in the licences, with the lines of its copyright" {
    PATH=$REAL_PATH
    command -v cargo >/dev/null || skip "there is no cargo"
    local target
    target=$(uname -m)-unknown-linux-gnu
    cd "$BATS_TEST_DIRNAME/../.."
    extras/distribution/licences.py --target "$target" >"$BATS_TEST_TMPDIR/text"
    cargo metadata --locked --offline --format-version 1 --filter-platform "$target" >"$BATS_TEST_TMPDIR/metadata"
    # This knows better than the metadata which features are on.
    cargo tree --locked --offline --target "$target" --edges normal,no-proc-macro --prefix none --format '{p}' \
        -p task-messenger-cli -p task-messenger-manager -p task-messenger-worker >"$BATS_TEST_TMPDIR/tree"
    run -0 python3 - "$BATS_TEST_TMPDIR" <<'END'
import glob, json, os, sys
text = open(f"{sys.argv[1]}/text", encoding="utf-8").read()
flat = " ".join(text.split())
directories = {(package["name"], package["version"]): os.path.dirname(package["manifest_path"])
               for package in json.load(open(f"{sys.argv[1]}/metadata"))["packages"]}
crates = {tuple(line.split()[:2]) for line in open(f"{sys.argv[1]}/tree") if line.strip() and not line.startswith("task-messenger-")}
notices = 0
for name, version in sorted(crates):
    if f"\n{name} {version[1:]}\n" not in text:
        print(f"{name} is missing")
    for path in glob.glob(glob.escape(directories[name, version[1:]]) + "/*"):
        if os.path.basename(path).lower().startswith(("license", "licence", "copying", "notice", "unlicense", "copyright")):
            if f"{name} {version[1:]} ({os.path.basename(path)})" not in flat:
                print(f"{path} is missing")
            for line in open(path, encoding="utf-8", errors="replace"):
                if "copyright" in line.lower():
                    notices += 1
                    if " ".join(line.split()) not in flat:
                        print(f"{name}: this is missing: {line}")
print(len(crates) > 100 and notices > 100)
END
    [ "$output" = True ] || { echo "$output"; return 1; }
}

@test "tools that are missing are named" {
    local tool
    mkdir "$BATS_TEST_TMPDIR/few"
    for tool in bash env dirname realpath tar gzip sha256sum od objdump awk rustc; do
        ln -s "$(command -v "$tool")" "$BATS_TEST_TMPDIR/few/$tool"
    done
    refuses 1 "not here: strip python3 cargo (" env PATH="$BATS_TEST_TMPDIR/few" "$HERE/extras/scripts/build_distribution.sh" all \
        --bin-dir "$BIN" --out "$OUT"
}

@test "needrestart leaves the services alone, and no others" {
    run -0 perl -e 'our %nrconf; my $text = do { local (@ARGV, $/) = shift; <> }; eval $text; die $@ if $@;
        for my $unit (@ARGV) { print grep({ $unit =~ $_ } keys %{ $nrconf{override_rc} }) ? "yes" : "no" }' \
        "$BATS_TEST_DIRNAME/../needrestart/task-messenger.conf" task-messenger-manager.service \
        task-messenger-worker.service task-messenger-worker@gpu.service task-messenger-workers.service dbus.service
    [ "$output" = yesyesyesnono ]
}

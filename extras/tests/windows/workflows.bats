#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # tests are subshells
# That the workflows hold, as far as actionlint sees it; and that what looks for faults finds them.

bats_require_minimum_version 1.5.0

setup() {
    checker=$BATS_TEST_DIRNAME/check_workflows
}

@test "the workflows are right" {
    run "$checker"
    echo "$output"
    [ "$status" = 0 ] || { [ "$status" = 77 ] && skip "SKIPPED: no actionlint"; }
}

# GitHub refuses such a file, and actionlint does not see it.
@test "no step has a shell that is looked up" {
    # That of a job's defaults stands right below `run:`.
    run awk '/^ *run:$/ { defaults = NR } /shell: \$\{\{/ && NR != defaults + 1 { print FILENAME ":" NR ": " $0; found = 1 } END { exit !found }' \
        "$BATS_TEST_DIRNAME"/../../../.github/workflows/*.yml
    echo "$output"
    [ "$status" = 1 ]
}

# planted TEXT OLD NEW: with a line changed, it must find a fault that it describes so.
planted() {
    local file=$BATS_TEST_TMPDIR/planted.yml
    sed "s|$2|$3|" "$BATS_TEST_DIRNAME/../../../.github/workflows/windows.yml" >"$file"
    run "$checker" "$file"
    [ "$status" != 77 ] || skip "SKIPPED: no actionlint"
    if [ "$status" != 1 ] || [[ $output != *planted.yml:*"$1"* ]]; then
        printf 'not found: "%s", but\n%s\n' "$1" "$output"
        return 1
    fi
}

@test "it finds what is wrong in one" {
    planted 'property "modes" is not defined' 'matrix.mode }}' 'matrix.modes }}'
    planted 'job "builds" which does not exist' 'needs: .build,' 'needs: [builds,'
    planted 'unexpected key "timeout-minute"' 'timeout-minutes: 10' 'timeout-minute: 10'
    planted 'label "windows-lastest" is unknown' 'windows-latest' 'windows-lastest'
}

@test "without actionlint it says so, loudly" {
    mkdir "$BATS_TEST_TMPDIR/empty"
    for program in bash dirname readlink; do
        ln -s "$(command -v "$program")" "$BATS_TEST_TMPDIR/empty/"
    done
    run env PATH="$BATS_TEST_TMPDIR/empty" "$checker"
    [ "$status" = 77 ]
    [[ $output == "SKIPPED: no actionlint "* ]]
}

@test "git for Windows changes no end of a line" {
    local repository=$BATS_TEST_DIRNAME/../../..
    [ -e "$repository/.git" ] || skip "SKIPPED: no checkout"
    git -C "$repository" ls-files | git -C "$repository" check-attr --stdin text >"$BATS_TEST_TMPDIR/attributes"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/attributes")" -gt 100 ]
    run grep -v ': text: unset$' "$BATS_TEST_TMPDIR/attributes"
    echo "$output"
    [ "$status" = 1 ]
}

@test "clippy, which a pinned toolchain doesn't bring, is installed before it is used" {
    run awk 'FNR == 1 { is_there = 0 } /rustup component add clippy/ { is_there = 1 } /cargo clippy/ && !is_there { print FILENAME ":" FNR }' \
        "$BATS_TEST_DIRNAME"/../../../.github/workflows/*.yml
    echo "$output"
    [ "$status" = 0 ]
    [ -z "$output" ]
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2016 # tests are subshells; what looks like a variable is PowerShell's
# That the scripts have nothing that Windows PowerShell 5.1 or PowerShell 7 lacks; and that what looks for it finds it.

load helper

setup() {
    checker=("$BATS_TEST_DIRNAME/check_powershell")
    wanted=()
    planted=$BATS_TEST_TMPDIR
}

@test "the scripts have nothing that 5.1 or 7 lacks" {
    run "$BATS_TEST_DIRNAME/check_powershell"
    echo "$output"
    [ "$status" = 0 ] || { [ "$status" = 77 ] && skip "SKIPPED: no PowerShell"; }
}

# plant TEXT < SCRIPT: a script in which the checker must find a fault that it describes so.
plant() {
    wanted+=("$1")
    cat >"$planted/planted-${#wanted[@]}.ps1"
}

# Each in its own script, which are looked at together.
all_found() {
    local index
    run "${checker[@]}" "$planted"/planted-*.ps1
    [ "$status" = 1 ]
    for index in "${!wanted[@]}"; do
        if ! grep -F "planted-$((index + 1)).ps1:" <<<"$output" | grep -qF -- "${wanted[index]}"; then
            printf 'not found in\n%s\n: "%s", but\n%s\n' "$(cat "$planted/planted-$((index + 1)).ps1")" "${wanted[index]}" "$output"
            return 1
        fi
    done
}

@test "it finds what the text shows, with no PowerShell at all" {
    local python
    python=$(python3 -c 'import sys; print(sys.executable)')
    mkdir "$BATS_TEST_TMPDIR/empty"
    checker=(env -u PWSH PATH="$BATS_TEST_TMPDIR/empty" "$python" "$BATS_TEST_DIRNAME/check_powershell")
    plant "ps1:2: not plain ASCII" <<<$'# first\n# Größe'
    plant "not plain ASCII" <<<$'\t$a = 1'
    plant "blanks at the end" <<<'$a = 1 '
    plant "no operator: -ne" <<<'if ($a != 1) { }'
    plant "no operator: -ne and -eq" <<<'if ($a == 1) { }'
    plant "5.1 has no &&" <<<'a && b'
    plant "5.1 has no ?? and no ?." <<<'$a = $b ?? 1'
    all_found
    # Not in texts and comments.
    printf '%s\n' '$a = "x == y"' "\$b = 'a && b' # != ??" '<# a || b' '#>' >"$BATS_TEST_TMPDIR/good.ps1"
    run "${checker[@]}" "$BATS_TEST_TMPDIR/good.ps1"
    [ "$status" = 77 ]
    [ "$output" = "SKIPPED: no PowerShell" ]
}

@test "it finds what a script of ours must have" {
    local line
    # The directory is what makes it one.
    planted=$BATS_TEST_TMPDIR/scripts
    mkdir "$planted"
    for line in '#Requires -Version 5.1' '[CmdletBinding()]' 'Set-StrictMode -Version Latest' "\$ErrorActionPreference = 'Stop'" \
        .SYNOPSIS .DESCRIPTION .EXAMPLE '.PARAMETER Follow'; do
        plant "there is no $line" < <(grep -vxF -- "$line" "$SCRIPTS/service_control.ps1")
    done
    all_found
}

@test "it finds syntax, commands, parameters and types that one of the two lacks" {
    need_powershell
    plant "ps1:2: " <<<$'$a = 1\nif ($a -lt ) { }'
    plant "erminator" <<<'$a = "open'
    plant "5.1 has no ? :" <<<'$a = $b ? 1 : 2'
    plant "5.1 has no ?." <<<'${a}?.Length'
    plant "5.1 has no ??=" <<<'$a ??= 1'
    plant "5.1 has no ||" <<<'Get-Item a || Get-Item b'
    plant "5.1 has no & behind a command" <<<'Get-Item a &'
    plant 'no `e and no `u' <<<'$a = "`e[1m"'
    plant "doesn't read the number 1u" <<<'$a = 1u'
    plant "script block" <<<'$a = "a" -replace "a", { "b" }'
    plant "2>&1: Invoke-Program" <<<'$a = Get-Item a 2>&1'
    plant "5.1 loses quotes" <<<'& "sc.exe" query'
    plant "Get-Nonsense is neither" <<<'Get-Nonsense'
    plant "gci is neither" <<<'gci .'
    plant "Join-String is neither" <<<'"a" | Join-String'
    plant "Invoke-Expression: runs a text" <<<'Invoke-Expression "1"'
    plant "Get-ChildItem of 5.1 has no -FollowSymlink" <<<'Get-ChildItem -Path . -FollowSymlink'
    plant "Get-Service of 7.0 has no -ComputerName" <<<'Get-Service -Name a -ComputerName b'
    plant "ConvertFrom-Json of 5.1 has no -AsHashtable" <<<'"{}" | ConvertFrom-Json -AsHashtable'
    plant "Test-It has no -Twice" <<<$'function Test-It {\n    param($Once)\n    $Once\n}\nTest-It -Twice 1'
    plant "IsWindows: not in 5.1" <<<'$a = $IsWindows'
    plant "type IO.Nonsense is not in known.json" <<<'$a = New-Object -TypeName IO.Nonsense'
    plant "[IO.Path]::GetRelativePath is not in known.json" <<<'$a = [IO.Path]::GetRelativePath("a", "b")'
    plant "doesn't take 5 arguments" <<<'$a = [IO.File]::ReadAllBytes(1, 2, 3, 4, 5)'
    plant "a method Nonsense is not in known.json" <<<'$a = "".Nonsense()'
    plant "Join-Path of 5.1 joins only two" <<<'Join-Path $a b c'
    plant "Join-Path of 5.1 joins only two" <<<'Join-Path -Path $a -Resolve b c'
    plant "Join-Path of 5.1 joins only two" <<<'Join-Path -ChildPath:b $a c'
    plant "-Encoding utf8BOM is not in both" <<<'Set-Content -LiteralPath a -Value b -Encoding utf8BOM'
    plant "-Encoding UTF8NoBOM is not in both" <<<'Get-Content -LiteralPath a -Encoding:"UTF8NoBOM"'
    plant "-Encoding Byte is not in both" <<<'Get-Content -LiteralPath a -Encoding Byte'
    plant "no range of characters" <<<"\$a = 'a'..'f'"
    plant "no range of characters" <<<'$a = [char]65..[char]70'
    plant "SHA256]::Create: refused" <<<'$a = [Security.Cryptography.SHA256]::Create()'
    plant "has no ArgumentList" <<<'$a.ArgumentList.Add("b")'
    all_found
}

@test "it finds nothing where there is nothing" {
    need_powershell
    printf '%s\n' '$a = Join-Path -Resolve $b c' '$a = Join-Path -Path $b -ChildPath (Join-Path c d)' "\$a = 1..3 + '1'..'3'" \
        '$a = Get-Content -LiteralPath a -Encoding UTF8 -TotalCount 1' >"$BATS_TEST_TMPDIR/good.ps1"
    run "$BATS_TEST_DIRNAME/check_powershell" "$BATS_TEST_TMPDIR/good.ps1"
    expect 0 "no fault"
}

@test "it finds what only the table shows to be missing in one version" {
    need_powershell
    # Without what 7 says, as for a command that was taken out.
    python3 - "$BATS_TEST_DIRNAME/known.json" "$BATS_TEST_TMPDIR/known.json" <<'END'
import json, sys
table = json.load(open(sys.argv[1]))
del table["commands"]["get-service"]["7.0"], table["statics"]["io.file::readallbytes"]["5.1"]
json.dump(table, open(sys.argv[2], "w"))
END
    run "$BATS_TEST_DIRNAME/check_powershell" --table "$BATS_TEST_TMPDIR/known.json"
    expect 1 "7.0 has no Get-Service" "5.1 has not [IO.File]::ReadAllBytes"
}

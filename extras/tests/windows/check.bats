#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2016 # tests are subshells; what looks like a variable is PowerShell's
# That the scripts have nothing that Windows PowerShell 5.1 or PowerShell 7 lacks; and that what looks for it finds it.

load helper

setup() {
    checker=("$BATS_TEST_DIRNAME/check_powershell")
}

@test "the scripts have nothing that 5.1 or 7 lacks" {
    run "$BATS_TEST_DIRNAME/check_powershell"
    echo "$output"
    [ "$status" = 0 ] || { [ "$status" = 77 ] && skip "SKIPPED: no PowerShell"; }
}

# planted TEXT < SCRIPT: the checker must find a fault that it describes so.
planted() {
    local file=$BATS_TEST_TMPDIR/planted.ps1
    cat >"$file"
    run "${checker[@]}" "$file"
    if [ "$status" != 1 ] || [[ $output != *"$1"* ]]; then
        printf 'not found in\n%s\n: "%s", but\n%s\n' "$(cat "$file")" "$1" "$output"
        return 1
    fi
}

@test "it finds what the text shows, with no PowerShell at all" {
    local python
    python=$(python3 -c 'import sys; print(sys.executable)')
    mkdir "$BATS_TEST_TMPDIR/empty"
    checker=(env -u PWSH PATH="$BATS_TEST_TMPDIR/empty" "$python" "$BATS_TEST_DIRNAME/check_powershell")
    planted "planted.ps1:2: not plain ASCII" <<<$'# first\n# Größe'
    planted "not plain ASCII" <<<$'\t$a = 1'
    planted "blanks at the end" <<<'$a = 1 '
    planted "no operator: -ne" <<<'if ($a != 1) { }'
    planted "no operator: -ne and -eq" <<<'if ($a == 1) { }'
    planted "5.1 has no &&" <<<'a && b'
    planted "5.1 has no ?? and no ?." <<<'$a = $b ?? 1'
    # Not in texts and comments.
    printf '%s\n' '$a = "x == y"' "\$b = 'a && b' # != ??" '<# a || b' '#>' >"$BATS_TEST_TMPDIR/good.ps1"
    run "${checker[@]}" "$BATS_TEST_TMPDIR/good.ps1"
    [ "$status" = 77 ]
    [ "$output" = "SKIPPED: no PowerShell" ]
}

@test "it finds what a script of ours must have" {
    mkdir -p "$BATS_TEST_TMPDIR/scripts"
    local wanted script=$SCRIPTS/service_control.ps1 copy=$BATS_TEST_TMPDIR/scripts/service_control.ps1
    for wanted in '#Requires -Version 5.1' '[CmdletBinding()]' 'Set-StrictMode -Version Latest' "\$ErrorActionPreference = 'Stop'" \
        .SYNOPSIS .DESCRIPTION .EXAMPLE '.PARAMETER Follow'; do
        grep -vxF -- "$wanted" "$script" >"$copy"
        run "$BATS_TEST_DIRNAME/check_powershell" "$copy"
        [ "$status" = 1 ]
        [[ $output == *"there is no $wanted"* ]]
    done
}

@test "it finds syntax, commands, parameters and types that one of the two lacks" {
    need_powershell
    planted "planted.ps1:2: " <<<$'$a = 1\nif ($a -lt ) { }'
    planted "erminator" <<<'$a = "open'
    planted "5.1 has no ? :" <<<'$a = $b ? 1 : 2'
    planted "5.1 has no ?." <<<'${a}?.Length'
    planted "5.1 has no ??=" <<<'$a ??= 1'
    planted "5.1 has no ||" <<<'Get-Item a || Get-Item b'
    planted "5.1 has no & behind a command" <<<'Get-Item a &'
    planted 'no `e and no `u' <<<'$a = "`e[1m"'
    planted "doesn't read the number 1u" <<<'$a = 1u'
    planted "script block" <<<'$a = "a" -replace "a", { "b" }'
    planted "2>&1: Invoke-Program" <<<'$a = Get-Item a 2>&1'
    planted "5.1 loses quotes" <<<'& "sc.exe" query'
    planted "Get-Nonsense is neither" <<<'Get-Nonsense'
    planted "gci is neither" <<<'gci .'
    planted "Join-String is neither" <<<'"a" | Join-String'
    planted "Invoke-Expression: runs a text" <<<'Invoke-Expression "1"'
    planted "Get-ChildItem of 5.1 has no -FollowSymlink" <<<'Get-ChildItem -Path . -FollowSymlink'
    planted "Get-Service of 7.0 has no -ComputerName" <<<'Get-Service -Name a -ComputerName b'
    planted "ConvertFrom-Json of 5.1 has no -AsHashtable" <<<'"{}" | ConvertFrom-Json -AsHashtable'
    planted "Test-It has no -Twice" <<<$'function Test-It {\n    param($Once)\n    $Once\n}\nTest-It -Twice 1'
    planted "IsWindows: not in 5.1" <<<'$a = $IsWindows'
    planted "type IO.Nonsense is not in known.json" <<<'$a = New-Object -TypeName IO.Nonsense'
    planted "[IO.Path]::GetRelativePath is not in known.json" <<<'$a = [IO.Path]::GetRelativePath("a", "b")'
    planted "doesn't take 5 arguments" <<<'$a = [IO.File]::ReadAllBytes(1, 2, 3, 4, 5)'
    planted "a method Nonsense is not in known.json" <<<'$a = "".Nonsense()'
    planted "has no ArgumentList" <<<'$a.ArgumentList.Add("b")'
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

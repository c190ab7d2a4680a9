#!/usr/bin/env bats
# What the scripts for Windows say on Linux, and what they say of themselves.

load helper

setup() {
    need_powershell
}

# powershell SCRIPT [ARGUMENTS...]
powershell() {
    run "$PWSH" -NoProfile -NonInteractive -File "$SCRIPTS/$1.ps1" "${@:2}"
}

@test "on Linux each says that it is for Windows, and what to take instead" {
    powershell install_service_windows -Component manager
    expect 1 "install_service_windows.ps1: this is for Windows. On Linux: scripts/install_service_linux.sh"
    powershell install_service_windows -Component worker -Native -DryRun
    expect 1 "this is for Windows"
    powershell uninstall_service_windows -Component all -Purge -DryRun
    expect 1 "uninstall_service_windows.ps1: this is for Windows. On Linux: scripts/uninstall_service_linux.sh"
    powershell service_control status
    expect 1 "service_control.ps1: this is for Windows. On Linux: scripts/service_control.sh"
    powershell build_distribution
    expect 1 "build_distribution.ps1: this is for Windows. On Linux: extras/scripts/build_distribution.sh all --target windows"
}

@test "parameters that don't exist, or with a value that isn't one of theirs" {
    powershell install_service_windows
    expect 1 "Component"
    powershell install_service_windows -Component client
    expect 1 "manager,worker"
    powershell install_service_windows -Component worker -StartupType Sometimes
    expect 1 "DelayedAutomatic,Automatic,Manual"
    powershell install_service_windows -Component worker -Slots 0
    expect 1 "Slots"
    powershell install_service_windows -Component worker -JoinToken tm1.secret
    expect 1
    powershell uninstall_service_windows -Component client
    expect 1 "manager,worker,all"
    powershell service_control
    expect 1 "Verb"
    powershell service_control dance
    expect 1 "start,stop,restart,reload,status,logs"
    powershell build_distribution -Component client
    expect 1 "manager,worker,all"
}

@test "the parameters are those that are documented, each with a help text, and each script has examples" {
    local script wanted name
    while read -r script wanted; do
        run "$PWSH" -NoProfile -NonInteractive -Command "Get-Help '$SCRIPTS/$script.ps1' -Full | Out-String -Width 300"
        [ "$status" = 0 ]
        [[ $output == *"EXAMPLE 2"* ]]
        [[ $output == *"Set-ExecutionPolicy -Scope Process Bypass -Force"* && $output != *"-ExecutionPolicy Bypass"* ]]
        for name in $wanted; do
            # Its line is followed by one that says something.
            grep -A 1 -E "^ +-$name " <<<"$output" | tail -n 1 | grep -qE '^ {8}[A-Za-z]'
        done
        run "$PWSH" -NoProfile -NonInteractive -Command "(Get-Command '$SCRIPTS/$script.ps1').Parameters.Keys |
            Where-Object { \$_ -notin [Management.Automation.PSCmdlet]::CommonParameters }"
        [ "$(sort <<<"$output" | xargs)" = "$(xargs -n 1 <<<"$wanted" | sort | xargs)" ]
    done <<'END'
install_service_windows Component Instance StartupType Account Slots JoinTokenFile NssmPath AllowOtherNssm Native DryRun
uninstall_service_windows Component Instance Purge DryRun
service_control Verb Component Instance Follow
build_distribution Component NoService Out BinDir
END
}

@test "what is to be done in a README begins with what has scripts run at all" {
    local file
    for file in "$REPOSITORY"/extras/distribution/README-*-windows.md; do
        # The blocks that run a script, by their first lines.
        run awk '/^```powershell/ { first = NR + 1 } NR == first { line = $0 } /^```$/ { first = 0 }
            first && /\.ps1 / && !shown[first]++ { print line }' "$file"
        [ "${#lines[@]}" -ge 2 ]
        [ "$(sort -u <<<"$output")" = "Set-ExecutionPolicy -Scope Process Bypass -Force" ]
        [ "$(grep -c 'ExecutionPolicy Bypass' "$file")" = 0 ]
    done
}

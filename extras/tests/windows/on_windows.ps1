# What .github/workflows/windows.yml does on a real Windows: steps for one machine, in the order of this file. Dot-source it and call
# them. They install for real, as an administrator, and remove everything again.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

. (Join-Path $PSScriptRoot '../../scripts/lib/windows.ps1')

$Machine = Join-Path ([IO.Path]::GetTempPath()) 'task-messenger machine'
$Programs = Join-Path $env:ProgramFiles 'TaskMessenger'
$Data = Join-Path $env:ProgramData 'TaskMessenger'
$Services = 'TaskMessengerManager', 'TaskMessengerWorker'
$Client = Join-Path $Programs 'manager\bin\task-messenger.exe'
$Manager = Join-Path $Programs 'manager\bin\task-messenger-manager.exe'

function Assert-That {
    param([string]$What, $Holds)
    if (-not $Holds) {
        throw "not so: $What"
    }
    Write-Output "ok: $What" | Out-Host
}

function Wait-Until {
    param([string]$What, [scriptblock]$Holds, [int]$Seconds = 60)
    $end = [DateTime]::UtcNow.AddSeconds($Seconds)
    while (-not (& $Holds)) {
        if ([DateTime]::UtcNow -gt $end) {
            throw "not within $Seconds s: $What"
        }
        Start-Sleep -Milliseconds 500
    }
    Write-Output "ok: $What" | Out-Host
}

# Runs a script or a program; its output, if it ends as it should. -Secret: nobody but the caller sees it.
function Invoke-Step {
    param([string]$Path, [hashtable]$Named, [string[]]$Arguments, [int]$Code = 0, [switch]$Secret)
    if ($Named) {
        $lines = & $Path @Named
    }
    else {
        $lines = & $Path @Arguments
    }
    if (-not $Secret) {
        $lines | Out-Host
    }
    if ($LASTEXITCODE -ne $Code) {
        throw "$Path ended with $LASTEXITCODE and not with $Code"
    }
    # A step of the workflow ends with it.
    $global:LASTEXITCODE = 0
    $lines
}

function Get-ScriptPath {
    param([string]$Component, [string]$Name)
    Join-Path $Machine "$Component archive\scripts\$Name.ps1"
}

function Invoke-Control {
    param([hashtable]$Named, [int]$Code = 0)
    Invoke-Step -Path (Join-Path $Programs 'manager\scripts\service_control.ps1') -Named $Named -Code $Code
}

# What a service's program says of it.
function Get-State {
    param([string]$Component)
    $program = Join-Path $Programs "$Component\bin\task-messenger-$Component.exe"
    (& $program service status --json) -join "`n" | ConvertFrom-Json
    $global:LASTEXITCODE = 0
}

# Unpacks the archives below -Directory, and checks their sums.
function Expand-Distribution {
    param([string]$Directory)
    foreach ($component in 'manager', 'worker') {
        $zip = @(Get-ChildItem -Path $Directory -Filter "task-messenger-$component-v*-windows-x64.zip")[0]
        $sum = (Get-Content -LiteralPath "$($zip.FullName).sha256" -TotalCount 1).Split(' ')[0]
        Assert-That "the sum of $($zip.Name)" ((Get-FileHash -LiteralPath $zip.FullName -Algorithm SHA256).Hash -eq $sum)
        Expand-Archive -LiteralPath $zip.FullName -DestinationPath (Join-Path $Machine $component)
        # A path with a blank in it.
        $top = @(Get-ChildItem -Path (Join-Path $Machine $component) -Directory)[0]
        Move-Item -LiteralPath $top.FullName -Destination (Join-Path $Machine "$component archive")
    }
}

function Get-InstallParameter {
    param([string]$Component, [string]$Mode)
    $parameters = @{ Component = $Component }
    if ($Mode -eq 'native') {
        $parameters.Native = $true
    }
    else {
        # Fetched beforehand, another way.
        $parameters.NssmPath = 'nssm\nssm.exe'
    }
    $parameters
}

function Install-Both {
    param([string]$Mode)
    $token = Join-Path $Machine 'worker token.txt'
    $parameters = Get-InstallParameter 'manager' $Mode
    $null = Invoke-Step -Path (Get-ScriptPath 'manager' 'install_service_windows') -Named ($parameters + @{ DryRun = $true })
    Assert-That 'a dry run changes nothing' (-not (Test-Path -LiteralPath $Programs) -and -not (Get-Service -Name $Services[0] -ErrorAction Ignore))
    $null = Invoke-Step -Path (Get-ScriptPath 'manager' 'install_service_windows') -Named $parameters
    $null = Invoke-Control -Named @{ Verb = 'status' } -Code 3
    $null = Invoke-Control -Named @{ Verb = 'start' }
    Invoke-Step -Secret -Path $Manager -Arguments 'token', 'create', '--role', 'worker' | Set-Content -LiteralPath $token -Encoding Ascii
    $parameters = Get-InstallParameter 'worker' $Mode
    $null = Invoke-Step -Path (Get-ScriptPath 'worker' 'install_service_windows') -Named ($parameters + @{ JoinTokenFile = $token; Slots = 2 })
    $null = Invoke-Control -Named @{ Verb = 'start'; Component = 'worker' }
    Wait-Until 'everything runs' { (Get-State 'manager').state -eq 'running' -and (Get-State 'worker').state -eq 'running' }
    $null = Invoke-Control -Named @{ Verb = 'status' }
}

function Test-WrongNssm {
    $other = Join-Path $Machine 'other nssm.exe'
    Copy-Item -LiteralPath (Join-Path $env:SystemRoot 'System32\where.exe') -Destination $other
    $null = Invoke-Step -Path (Get-ScriptPath 'manager' 'install_service_windows') -Code 1 -Named @{ Component = 'manager'; NssmPath = $other }
}

# The server of NSSM may be down, which is no fault of ours, but must be seen. Whatever else goes wrong is one.
function Test-Download {
    $shell = (Get-Process -Id $PID).Path
    $script = Get-ScriptPath 'manager' 'install_service_windows'
    $arguments = '-NoProfile', '-ExecutionPolicy', 'Bypass', '-File', $script, '-Component', 'manager', '-DryRun'
    $lines = Invoke-Program -Path $shell -Arguments $arguments -Quiet
    $lines | Out-Host
    if ($ProgramCode -eq 1 -and $ProgramComplaint -match 'NSSM could not be downloaded') {
        Write-Output "::warning::SKIPPED: the download of NSSM. $ProgramComplaint" | Out-Host
        return
    }
    Assert-That "NSSM is downloaded, and is the known one ($ProgramComplaint)" ($ProgramCode -eq 0 -and "$lines" -match 'SHA-256 as expected')
}

function Test-Task {
    $token = Join-Path $Machine 'client token.txt'
    Invoke-Step -Secret -Path $Manager -Arguments 'token', 'create', '--role', 'client' | Set-Content -LiteralPath $token -Encoding Ascii
    $null = Invoke-Step -Path $Client -Arguments 'login', "@$token"
    $said = Invoke-Step -Path $Client -Arguments 'submit', '--wait', '--', 'cmd', '/c', 'echo it works'
    Assert-That 'a task runs' ("$said" -match 'it works')
}

function Test-Account {
    foreach ($name in $Services) {
        $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='$name'"
        Assert-That "$name has an account of its own: $($service.StartName)" ($service.StartName -eq "NT SERVICE\$name")
        Assert-That "the path of $name is quoted" ($service.PathName -match '\A"')
        $recovery = (& sc.exe qfailure $name) -join "`n"
        $recovery | Out-Host
        Assert-That "$name is started again by Windows" ($recovery -match '\b5000\b' -and $recovery -match '\b30000\b' -and $recovery -match '\b300000\b')
        Assert-That "$name starts some time after the machine" (((& sc.exe qc $name) -join "`n") -match 'DELAYED')
    }
}

# Rights on a directory or file that everybody has.
function Get-RightOfAll {
    param([string]$Path)
    $rights = Get-Acl -LiteralPath $Path
    $rights.Access | Format-Table -AutoSize | Out-Host
    $rights.Access | Where-Object { "$($_.IdentityReference)" -match 'Everyone|\\Users|Authenticated' }
}

# Nobody else may read secrets, nor write what is kept or where programs lie.
function Test-Rights {
    foreach ($path in $Programs, $Data, (Join-Path $Data 'manager'), (Join-Path $Data 'worker'), (Join-Path $Data 'config')) {
        Assert-That "$path inherits no rights" (Get-Acl -LiteralPath $path).AreAccessRulesProtected
    }
    foreach ($path in $Programs, $Manager, (Join-Path $Programs 'worker\bin'), $Data, (Join-Path $Data 'config')) {
        $others = @(Get-RightOfAll $path | Where-Object { "$($_.FileSystemRights)" -match 'Write|Modify|FullControl' })
        Assert-That "nobody else writes in $path" ($others.Count -eq 0)
    }
    foreach ($path in 'manager', 'manager\key.pem', 'worker', 'worker\worker.credential', 'config\config-worker.json') {
        Assert-That "nobody else reads $path" (@(Get-RightOfAll (Join-Path $Data $path)).Count -eq 0)
    }
    $worker = (Get-Acl -LiteralPath (Join-Path $Data 'manager')).Access | Where-Object { "$($_.IdentityReference)" -match 'TaskMessengerWorker' }
    Assert-That "the worker has no right on the manager's state" (-not $worker)
}

function Test-Restart {
    foreach ($component in 'manager', 'worker') {
        # Not the process of the service, which is NSSM's if that runs it.
        $name = "task-messenger-$component"
        $before = @(Get-Process -Name $name).Id
        Stop-Process -Id $before -Force
        Wait-Until "the $component is back after a kill" {
            $now = @(Get-Process -Name $name -ErrorAction Ignore | ForEach-Object { $_.Id })
            $now.Count -eq 1 -and $now[0] -notin $before -and (Get-State $component).state -eq 'running'
        } -Seconds 90
    }
    Test-Task
}

function Test-WrongConfiguration {
    $file = Join-Path $Data 'config\config-worker.json'
    $right = [IO.File]::ReadAllText($file)
    $null = Invoke-Control -Named @{ Verb = 'stop'; Component = 'worker' }
    [IO.File]::WriteAllText($file, '{ "no such key": 1 }')
    # Whether starting fails at once or a moment later is the same here.
    & (Join-Path $Programs 'manager\scripts\service_control.ps1') start -Component worker | Out-Host
    Wait-Until 'a wrong configuration ends the worker with 78' { (Get-State 'worker').state -eq 'stopped' -and (Get-State 'worker').exit_code -eq 78 }
    Start-Sleep -Seconds 20
    Assert-That 'it stays stopped' ((Get-State 'worker').state -eq 'stopped')
    [IO.File]::WriteAllText($file, $right)
    $null = Invoke-Control -Named @{ Verb = 'start'; Component = 'worker' }
    Test-Task
}

function Test-Upgrade {
    param([string]$Mode)
    $readme = Join-Path $Machine 'worker archive\README.md'
    $contents = Join-Path $Machine 'worker archive\CONTENTS'
    $old = (Get-FileHash -LiteralPath $readme -Algorithm SHA256).Hash.ToLowerInvariant()
    [IO.File]::AppendAllText($readme, "Another version.`n")
    $new = (Get-FileHash -LiteralPath $readme -Algorithm SHA256).Hash.ToLowerInvariant()
    [IO.File]::WriteAllText($contents, [IO.File]::ReadAllText($contents).Replace($old, $new))
    $null = Invoke-Step -Path (Get-ScriptPath 'worker' 'install_service_windows') -Named (Get-InstallParameter 'worker' $Mode)
    Assert-That 'the other version is there' ([IO.File]::ReadAllText((Join-Path $Programs 'worker\README.md')) -match 'Another version')
    Wait-Until 'what ran runs again' { (Get-State 'worker').state -eq 'running' }
    Test-Task
}

function Test-EventLog {
    foreach ($name in $Services) {
        $events = @(Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = $name } -MaxEvents 20)
        $events | Format-Table -Property TimeCreated, Id, LevelDisplayName, Message -AutoSize -Wrap | Out-Host
        Assert-That "$name wrote to the Event Log" ($events.Count -gt 0)
        Assert-That "its messages can be read" (-not ($events | Where-Object { -not $_.Message -or $_.Message -match 'cannot be found' }))
    }
}

function Test-Log {
    $lines = Invoke-Control -Named @{ Verb = 'logs' }
    Assert-That 'logs are shown' (@($lines).Count -gt 2)
}

function Test-Stop {
    $null = Invoke-Control -Named @{ Verb = 'reload' }
    $null = Invoke-Control -Named @{ Verb = 'restart' }
    $null = Invoke-Control -Named @{ Verb = 'stop' }
    $null = Invoke-Control -Named @{ Verb = 'status' } -Code 3
    Assert-That 'no process is left' (-not (Get-Process -Name 'task-messenger-*' -ErrorAction Ignore))
}

function Uninstall-All {
    $null = Invoke-Step -Path (Join-Path $Programs 'worker\scripts\uninstall_service_windows.ps1') -Named @{ Component = 'worker' }
    Assert-That 'configuration stays' (Test-Path -LiteralPath (Join-Path $Data 'config\config-worker.json'))
    # The manager's archive has no program for what the worker has left, and says so.
    $null = Invoke-Step -Path (Get-ScriptPath 'manager' 'uninstall_service_windows') -Named @{ Component = 'all'; Purge = $true } -Code 1
    $null = Invoke-Step -Path (Get-ScriptPath 'worker' 'uninstall_service_windows') -Named @{ Component = 'all'; Purge = $true }
    foreach ($path in $Programs, $Data) {
        Assert-That "$path is gone" (-not (Test-Path -LiteralPath $path))
    }
    foreach ($name in $Services) {
        Assert-That "$name is gone" (-not (Get-Service -Name $name -ErrorAction Ignore))
    }
    foreach ($name in $Services + 'nssm') {
        $source = "HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\$name"
        Assert-That "the Event Log doesn't know $name" (-not (Test-Path -LiteralPath $source))
    }
    # Windows makes one for each account that a service has.
    $profiles = @(Get-ChildItem -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList' |
            Where-Object { $_.PSChildName -like 'S-1-5-80-*' -and "$($_.GetValue('ProfileImagePath'))" -match 'TaskMessenger' } |
            ForEach-Object { $_.PSChildName })
    Assert-That "no profile of a service is left: $profiles" ($profiles.Count -eq 0)
    Assert-That 'no process is left' (-not (Get-Process -Name 'task-messenger*', 'nssm' -ErrorAction Ignore))
    Remove-Item -LiteralPath $Machine -Recurse -Force
}

# What there is to be seen when a step has failed.
function Show-Everything {
    Get-Service -Name 'TaskMessenger*' | Format-List -Property * | Out-Host
    if (Test-Path -LiteralPath $Data) {
        foreach ($file in @(Get-ChildItem -LiteralPath $Data -Recurse -File -Filter '*.log' -ErrorAction Ignore)) {
            Write-Output "--- $($file.FullName)" | Out-Host
            Get-Content -LiteralPath $file.FullName -Tail 50 -Encoding UTF8 | Out-Host
        }
    }
    Get-WinEvent -FilterHashtable @{ LogName = 'System', 'Application'; StartTime = [DateTime]::Now.AddHours(-1) } -MaxEvents 200 -ErrorAction Ignore |
        Where-Object { $_.Message -match 'TaskMessenger' } | Format-List -Property TimeCreated, ProviderName, Id, Message | Out-Host
}

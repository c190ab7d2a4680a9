# Prints as JSON what check_powershell has to know of scripts, as PowerShell's own parser sees them. Needs PowerShell 7, whose parser
# knows all that 5.1 lacks.
param([Parameter(Mandatory)][string[]]$Path)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What 5.1 has not, by the parser's names.
$newer = @{
    QuestionMark = '? :'; QuestionQuestion = '??'; QuestionQuestionEquals = '??='; QuestionDot = '?.'; QuestionLBracket = '?['
    AndAnd = '&&'; OrOr = '||'; Clean = 'clean'
}

function Read-Parameter {
    param($Block)
    if ($Block -and $Block.ParamBlock) {
        $Block.ParamBlock.Parameters | ForEach-Object { $_.Name.VariablePath.UserPath }
    }
}

# What a command is given, in its order: a parameter's name, or a value, with its text if that is written there.
function Read-Element {
    param($Element)
    if ($Element -isnot [Management.Automation.Language.CommandParameterAst]) {
        return @{ value = Read-Text $Element }
    }
    @{ parameter = $Element.ParameterName }
    if ($Element.Argument) {
        @{ value = Read-Text $Element.Argument }
    }
}

function Read-Text {
    param($Node)
    if ($Node -is [Management.Automation.Language.StringConstantExpressionAst]) { $Node.Value } else { '' }
}

# Whether 7 makes characters of it in a range, and 5.1 numbers or nothing.
function Test-Character {
    param($Node)
    ($Node -is [Management.Automation.Language.StringConstantExpressionAst] -and $Node.Value -notmatch '\A-?[0-9]+\z') -or
    ($Node -is [Management.Automation.Language.ConvertExpressionAst] -and "$($Node.Type.TypeName)" -eq 'char')
}

function Read-Script {
    param([string]$File)
    $tokens = $null
    $errors = $null
    $tree = [Management.Automation.Language.Parser]::ParseFile($File, [ref]$tokens, [ref]$errors)
    $found = [ordered]@{
        file = $File; functions = @{}
        errors = @($errors | ForEach-Object { @{ line = $_.Extent.StartLineNumber; text = $_.Message } })
        commands = [Collections.Generic.List[object]]::new(); types = [Collections.Generic.List[object]]::new()
        members = [Collections.Generic.List[object]]::new(); faults = [Collections.Generic.List[object]]::new()
        variables = [Collections.Generic.List[object]]::new()
    }
    foreach ($token in $tokens) {
        $line = $token.Extent.StartLineNumber
        if ($newer.ContainsKey("$($token.Kind)")) {
            $found.faults.Add(@{ line = $line; text = "5.1 has no $($newer["$($token.Kind)"])" })
        }
        if ($token.Kind -in 'StringExpandable', 'HereStringExpandable' -and $token.Text -cmatch '(^|[^`])(``)*`[eu]') {
            $found.faults.Add(@{ line = $line; text = '5.1 has no `e and no `u in strings' })
        }
        if ($token.Kind -eq 'Number' -and $token.Text -notmatch '\A-?(0x[0-9a-f]+|[0-9.]+(l|d|kb|mb|gb|tb|pb)?)\z') {
            $found.faults.Add(@{ line = $line; text = "5.1 doesn't read the number $($token.Text)" })
        }
    }
    foreach ($node in $tree.FindAll({ $true }, $true)) {
        $line = $node.Extent.StartLineNumber
        switch ($node.GetType().Name) {
            'FunctionDefinitionAst' {
                $found.functions[$node.Name] = @(Read-Parameter $node.Body)
            }
            'CommandAst' {
                $parameters = @($node.CommandElements | Where-Object { $_ -is [Management.Automation.Language.CommandParameterAst] } |
                        ForEach-Object { $_.ParameterName })
                $found.commands.Add(@{ line = $line; name = $node.GetCommandName(); parameters = $parameters
                        elements = @($node.CommandElements | Select-Object -Skip 1 | ForEach-Object { Read-Element $_ })
                        operator = "$($node.InvocationOperator)"; what = $node.CommandElements[0].GetType().Name })
                if ($node.GetCommandName() -eq 'New-Object') {
                    $at = 1
                    while ($at -lt $node.CommandElements.Count -and $node.CommandElements[$at] -is [Management.Automation.Language.CommandParameterAst] -and
                        $node.CommandElements[$at].ParameterName -ne 'TypeName') { $at += 2 }
                    if ($at + 1 -lt $node.CommandElements.Count -and $node.CommandElements[$at] -is [Management.Automation.Language.CommandParameterAst]) { $at++ }
                    if ($node.CommandElements[$at] -is [Management.Automation.Language.StringConstantExpressionAst]) {
                        $found.types.Add(@{ line = $line; name = $node.CommandElements[$at].Value })
                    }
                }
            }
            { $_ -in 'TypeExpressionAst', 'TypeConstraintAst' } { $found.types.Add(@{ line = $line; name = $node.TypeName.FullName }) }
            { $_ -in 'MemberExpressionAst', 'InvokeMemberExpressionAst' } {
                $name = $null
                if ($node.Member -is [Management.Automation.Language.StringConstantExpressionAst]) { $name = $node.Member.Value }
                $type = $null
                if ($node.Static -and $node.Expression -is [Management.Automation.Language.TypeExpressionAst]) { $type = $node.Expression.TypeName.FullName }
                $count = -1
                if ($_ -eq 'InvokeMemberExpressionAst') { $count = @($node.Arguments | Where-Object { $null -ne $_ }).Count }
                $found.members.Add(@{ line = $line; type = $type; name = $name; arguments = $count })
            }
            'VariableExpressionAst' { $found.variables.Add(@{ line = $line; name = $node.VariablePath.UserPath }) }
            'PipelineAst' { if ($node.Background) { $found.faults.Add(@{ line = $line; text = '5.1 has no & behind a command' }) } }
            'MergingRedirectionAst' {
                $found.faults.Add(@{ line = $line; text = '5.1 makes errors of what a program writes to 2 in 2>&1: Invoke-Program' })
            }
            'BinaryExpressionAst' {
                if ("$($node.Operator)" -eq 'DotDot' -and ((Test-Character $node.Left) -or (Test-Character $node.Right))) {
                    $found.faults.Add(@{ line = $line; text = '5.1 has no range of characters' })
                }
                if ("$($node.Operator)" -in 'Ireplace', 'Creplace' -and $node.Right -is [Management.Automation.Language.ArrayLiteralAst] -and
                    $node.Right.Elements[1] -is [Management.Automation.Language.ScriptBlockExpressionAst]) {
                    $found.faults.Add(@{ line = $line; text = '5.1 has no -replace with a script block' })
                }
            }
        }
    }
    $found
}

ConvertTo-Json -Depth 6 -Compress -InputObject @($Path | ForEach-Object { Read-Script $_ })

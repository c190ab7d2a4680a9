# shellcheck shell=bash
# A service's configuration: made at the first installation, kept ever after. What a new version would have made lies beside
# it as `.new` when its default has changed.
#
# It is JSON with comments, which are worth keeping, so keys are set in its text. The new program checks what came of it.

# set_key KEY VALUE: filters a configuration, in which a top-level key then has this value.
set_key() {
    awk -v key="$1" -v value="$2" '
        # The line without texts and comments, so that braces in them do not count.
        function bare(line) {
            gsub(/"([^"\\]|\\.)*"/, "", line)
            sub(/\/\/.*/, "", line)
            return line
        }
        function depth_of(line,   opened, closed) {
            line = bare(line)
            opened = gsub(/[{[]/, "", line)
            closed = gsub(/[]}]/, "", line)
            return opened - closed
        }
        { lines[NR] = $0 }
        END {
            # Where the key stands, from and to, and where the object begins.
            for (n = 1; n <= NR; n++) {
                before = depth
                depth += depth_of(lines[n])
                if (!begin && before == 0 && depth > 0) begin = n
                if (!from && before == 1 && lines[n] ~ "^[ \t]*\"" key "\"[ \t]*:") from = n
                if (from && !to && depth <= 1) to = n
            }
            if (!begin) exit 1
            for (n = begin + 1; n <= NR; n++) if (bare(lines[n]) ~ /[^ \t]/ && bare(lines[n]) !~ /^[ \t]*}[ \t]*$/) more = 1
            for (n = 1; n <= NR; n++) {
                if (n == from) {
                    comma = bare(lines[to]) ~ /,[ \t]*$/ ? "," : ""
                    print "  \"" key "\": " value comma
                }
                if (n < from || n > to) print lines[n]
                if (n == begin && !from) print "  \"" key "\": " value (more || holds(begin) ? "," : "")
            }
        }
        # Whether something follows, a line that is only a text among it.
        function holds(begin,   n) {
            for (n = begin + 1; n <= NR; n++) if (lines[n] ~ /^[ \t]*"/) return 1
            return 0
        }'
}

# make_configuration KEY SLOTS: what a new installation gets, on standard output.
make_configuration() {
    local key=$1 slots=$2 component state credential
    component=$(component_of "$key")
    state=$(state_of "$key")
    credential=$(credential_of "$key")
    {
        if [ "$MODE" = system ] && [ "$key" = "$component" ]; then
            cat
        else
            set_key state_directory "\"$state\"" | if [ "$component" = worker ]; then
                # One port serves one worker; who wants it for another gives it one of its own.
                set_key credential_file "\"$credential\"" | set_key http null
            else
                cat
            fi
        fi
    } <"${FILE_SOURCE[etc/task-messenger/config-$component.json]}" | if [ -n "$slots" ]; then
        set_key slots "$slots"
    else
        cat
    fi
}

configuration_owner() {
    if [ "$MODE" = user ]; then
        root_or_user
    else
        printf 'root:%s' "$(account_of "$1")"
    fi
}

# check_configuration PROGRAM FILE: whether the program takes it; says what is wrong.
check_configuration() {
    run_program "$1" --config "$2" --check-config 2>&1
}

# put_configuration KEY SLOTS PROGRAM
put_configuration() {
    local key=$1 slots=$2 program=$3 path made output mode=0640
    path=$(configuration_of "$key")
    made=$SCRATCH/config-$(name_of "$key").json
    [ "$MODE" = system ] || mode=0600
    if [ ! -e "$ROOT$path" ]; then
        must make_configuration "$key" "$slots" >"$made"
        output=$(check_configuration "$program" "$made") || die "the configuration made for $key is not taken: $output"
        put_directory "$CONFIGURATION" 0755 "$(root_or_user)"
        put_file "$made" "$path" "$mode" "$(configuration_owner "$key")"
        unset 'OWNED[$path]'
        return
    fi
    [ -z "$slots" ] || warn "$path is kept as it is: --slots is only for a new one (set \"slots\": $slots in it)"
    if ! default_has_changed "$key"; then
        return
    fi
    must make_configuration "$key" "" >"$made"
    if cmp -s -- "$made" "$ROOT$path" || cmp -s -- "$made" "$ROOT$path.new"; then
        return
    fi
    put_file "$made" "$path.new" "$mode" "$(configuration_owner "$key")"
    unset 'OWNED[$path.new]'
    say "$path is kept. The default has changed; it lies beside as ${path##*/}.new:"
    diff -u --label "$path" --label "$path.new" -- "$ROOT$path" "$made" | sed 's/^/    /' || true
}

# Whether the default is another one than when this service was last installed or upgraded. That is remembered with the
# state, so that it survives a removal as configuration and state do.
default_has_changed() {
    local key=$1 now remembered
    now=$(default_sum "$key")
    remembered=$(remembered_sum "$key")
    [ "$now" != "$remembered" ]
}

default_sum() {
    sha256sum <"${FILE_SOURCE[etc/task-messenger/config-$(component_of "$1").json]}" | cut -d ' ' -f 1
}

remembered_sum() {
    [ -f "$ROOT$STATE/.defaults" ] || return 0
    awk -v key="$1" '$2 == key { print $1 }' "$ROOT$STATE/.defaults"
}

# remember_defaults KEY...
remember_defaults() {
    local key file=$SCRATCH/defaults
    if [ -f "$ROOT$STATE/.defaults" ]; then
        cp -- "$ROOT$STATE/.defaults" "$file"
    else
        : >"$file"
    fi
    for key in "$@"; do
        awk -v key="$key" '$2 != key' "$file" >"$file.others"
        printf '%s  %s\n' "$(default_sum "$key")" "$key" >>"$file.others"
        LC_ALL=C sort -k 2 "$file.others" >"$file"
    done
    put_directory "$STATE" 0755 "$(root_or_user)"
    put_file "$file" "$STATE/.defaults" 0644 "$(root_or_user)"
    unset 'OWNED[$STATE/.defaults]'
}

forget_default() {
    local path=$ROOT$STATE/.defaults left
    [ -f "$path" ] || return 0
    left=$(awk -v key="$1" '$2 != key' "$path")
    if [ -z "$left" ]; then
        rm -f -- "$path"
    else
        printf '%s\n' "$left" >"$path.$$" && mv -fT -- "$path.$$" "$path"
    fi
}

# setting PROGRAM FILE KEY: what holds for a key (a path with dots), as JSON; nothing if that can't be found out.
setting() {
    run_program "$1" --config "$2" --print-config 2>/dev/null |
        awk -v key="$3" '$1 == key && $2 == "=" { sub(/^[^=]*= */, ""); sub(/ +# .*/, ""); print; exit }'
}

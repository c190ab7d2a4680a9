# shellcheck shell=bash
# What is refused before anything is touched.

check_caller() {
    if [ "$MODE" = user ]; then
        ! is_root || die "--user is for an ordinary user, without sudo; a service of root's own is refused"
        local runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
        export XDG_RUNTIME_DIR=$runtime
        [ -d "$ROOT/run/systemd/system" ] || die_without_systemd
        [ -d "$ROOT$runtime" ] && ctl show-environment >/dev/null 2>&1 ||
            die "your systemd can't be reached: log in directly (by ssh, or \`machinectl shell USER@\`), not by su or sudo"
        return
    fi
    is_root || die "this needs root: run it with sudo (or give --user for a service of your own, without root)"
    [ -d "$ROOT/run/systemd/system" ] || die_without_systemd
}

die_without_systemd() {
    die "this machine was not started by systemd (there is no /run/systemd/system). The programs run without it:
  bin/task-messenger-manager run
  bin/task-messenger-worker join && bin/task-messenger-worker run"
}

# Two installations of one thing would fight for the same service. What a removed package left is no installation.
check_package() {
    local package state
    [ "$MODE" = system ] && command -v dpkg-query >/dev/null || return 0
    for package in task-messenger "task-messenger-$1"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
        case $state in
            "" | not-installed | config-files) ;;
            installed) die "the package $package is installed: upgrade it with apt, or remove it first (\`apt remove $package\`)" ;;
            *) die "the package $package is $state: have dpkg finish (\`dpkg --configure -a\`, \`apt --fix-broken install\`), or remove it first (\`apt remove $package\`)" ;;
        esac
    done
}

# Programs that run as a service must lie where nobody else can replace them, and where they can be run and seen.
check_prefix() {
    local path=$PREFIX directory parent
    is_plain_path "$path" || die "--prefix wants an absolute path of letters, digits and . _ + - @ /: '$path'"
    if [ -n "$INSTALLED_PREFIX" ] && [ "$INSTALLED_PREFIX" != "$path" ]; then
        die "an installation is at $INSTALLED_PREFIX: leave --prefix out, or uninstall that one first"
    fi
    path=$(realpath -m -- "$ROOT$path")
    path=${path#"$ROOT"}
    if [ "$MODE" = system ]; then
        case $path/ in
            /home/* | /root/* | /tmp/* | /var/tmp/* | /dev/* | /run/* | /var/run/* | /proc/* | /sys/*)
                die "--prefix $PREFIX is refused: below ${path%"${path#/*/}"} the programs may vanish, or be out of the service's sight"
                ;;
        esac
        case $path in
            /usr | /usr/local | /etc | /opt | /var | /bin | /sbin | /lib | /srv | /boot)
                die "--prefix $PREFIX is refused: it wants a directory of its own, such as $path/task-messenger" ;;
        esac
    fi
    directory=$path
    while [ -n "$directory" ]; do
        [ ! -e "$ROOT$directory" ] || check_directory "$directory"
        directory=${directory%/*}
    done
    [ -n "$ROOT" ] || [ "$MODE" = user ] || check_directory /
    parent=$ROOT$path
    while [ -n "$parent" ] && [ ! -e "$parent" ]; do
        parent=${parent%/*}
    done
    if command -v findmnt >/dev/null && [[ ,$(findmnt -n -o OPTIONS -T "${parent:-/}"), == *,noexec,* ]]; then
        die "--prefix $PREFIX is refused: it is on a file system that is mounted noexec"
    fi
}

check_directory() {
    local mode owner wanted=0
    mode=$(stat -c %a -- "$ROOT$1")
    owner=$(stat -c %u -- "$ROOT$1")
    [ -d "$ROOT$1" ] || die "--prefix $PREFIX is refused: $1 is no directory"
    # A test's own root belongs to whoever runs the test.
    [ -z "$ROOT" ] || wanted=$(stat -c %u -- "$ROOT")
    if [ "$MODE" = user ]; then
        [ "$owner" = 0 ] || [ -O "$ROOT$1" ] || refuse_directory "$1"
    else
        [ "$owner" = "$wanted" ] || refuse_directory "$1"
    fi
    ((8#$mode & 8#022)) && refuse_directory "$1"
    return 0
}

refuse_directory() {
    die "the programs can't be installed at $PREFIX: others can write to $1 ($(stat -c '%A %U:%G' -- "$ROOT$1"))"
}

# --join needs the token before anything is done, not after.
check_token_file() {
    [ -z "$1" ] || { [ -f "$1" ] && [ -r "$1" ] && [ -s "$1" ]; } || die "--join: the token's file can't be read, or is empty: $1"
}

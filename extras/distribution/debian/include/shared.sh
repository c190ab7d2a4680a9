# shellcheck shell=dash
# Removes the directories that all components share, if nobody has anything in them.
remove_empty_shared_directories() {
    local directory
    for directory in /var/lib/task-messenger/packages /var/lib/task-messenger /var/log/task-messenger \
        /run/task-messenger /etc/task-messenger; do
        if [ -d "$directory" ] && [ ! -L "$directory" ]; then
            # One on which a disk is mounted stays; rmdir says so.
            rmdir --ignore-fail-on-non-empty "$directory" || true
        fi
    done
}

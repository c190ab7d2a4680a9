# shellcheck shell=dash
# Where an installation from an archive is, if there is one. It may have another prefix, to which its control script's link
# leads.
prefix_of_archive() {
    local link
    if link=$(readlink /usr/local/bin/task-messenger-service) && [ "${link%/scripts/service_control.sh}" != "$link" ]; then
        printf '%s' "${link%/scripts/service_control.sh}"
    else
        printf /opt/task-messenger
    fi
}

# manifests_of_archive [COMPONENT]: the manifests of such an installation, one a line; nothing if there is none.
manifests_of_archive() {
    local manifest
    for manifest in "$(prefix_of_archive)/manifests/${1:-}"*; do
        [ ! -f "$manifest" ] || printf '%s\n' "$manifest"
    done
}

# give_back FILE PLACE: dpkg has just deleted a configuration file that the package had left, and that an archive has taken
# over since; here it is again, from FILE of the archive's share.
give_back() {
    local file
    file=$(prefix_of_archive)/share/$1
    if [ -f "$file" ] && [ ! -e "$2" ]; then
        install -D -m 0644 "$file" "$2"
    fi
}

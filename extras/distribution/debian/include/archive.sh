# shellcheck shell=dash
# The places where an installation from an archive keeps its manifests, one a line; nothing if there is none. It may have
# another prefix, to which its control script's link leads.
manifests_of_archive() {
    local prefix=/opt/task-messenger link manifest
    if link=$(readlink /usr/local/bin/task-messenger-service) && [ "${link%/scripts/service_control.sh}" != "$link" ]; then
        prefix=${link%/scripts/service_control.sh}
    fi
    for manifest in "$prefix/manifests"/*; do
        [ ! -f "$manifest" ] || printf '%s\n' "$manifest"
    done
}

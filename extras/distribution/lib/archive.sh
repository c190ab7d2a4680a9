# shellcheck shell=bash
# Packs an archive. The same files give the same bytes, whoever packs, wherever and whenever.

# pack_archive COMPONENT
pack_archive() {
    local component=$1 name kind mode source place stage
    name=task-messenger-$component-v$VERSION-linux-$ARCHITECTURE
    stage=$WORK/archive/$name
    mkdir -p "$stage"
    while read -r kind mode source place; do
        put_entry "$kind" "$mode" "$source" "$stage/$place"
    done < <(entries_of_archive "$component")
    write_contents "$stage"
    (cd "$WORK/archive" && LC_ALL=C tar --create --format=ustar --sort=name --owner=0 --group=0 --numeric-owner \
        --mode=go-w --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip -9n >"$name.tar.gz" &&
        sha256sum "$name.tar.gz" >"$name.tar.gz.sha256") || die "$name could not be packed"
    deliver "$WORK/archive/$name.tar.gz"
    deliver "$WORK/archive/$name.tar.gz.sha256"
}

# A line for each file, `SHA-256  MODE  PATH`, sorted by path: the installer finds by it what is missing or damaged, and has
# no list of its own.
write_contents() {
    local modes=$WORK/modes
    # The list of contents allows no blanks in places.
    (cd "$1" && find . -type f ! -path ./CONTENTS -printf '%P 0%m\n' | LC_ALL=C sort >"$modes" &&
        cut -d ' ' -f 1 "$modes" | xargs sha256sum -- | paste -d ' ' - "$modes" | awk '{ print $1 "  " $4 "  " $2 }') \
        >"$WORK/CONTENTS" || die "the contents of ${1##*/} could not be listed"
    mv -- "$WORK/CONTENTS" "$1/CONTENTS"
    chmod 0644 "$1/CONTENTS"
}

# Puts a finished file where it is wanted, never half of it under its name.
deliver() {
    local place=$OUT/${1##*/} part=$OUT/.${1##*/}.part
    { cp -- "$1" "$part" && mv -f -- "$part" "$place"; } || die "could not write $place"
    printf '%s\n' "$place"
}

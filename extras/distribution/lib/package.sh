# shellcheck shell=bash
# Makes the Debian packages.
#
# With dpkg-deb and scripts of our own, not with cargo-deb: what that generates for a unit starts it at installation, where
# ours are enabled and never started; and it has its list of files in Cargo.toml, where there shall be one list for archives
# and packages. dpkg refuses two packages that have one file, so what both components need is in a third.

MAINTAINER=${DEB_MAINTAINER:-TaskMessenger <packages@task-messenger.invalid>}

package_name() {
    if [ "$1" = common ]; then
        printf task-messenger
    else
        printf 'task-messenger-%s' "$1"
    fi
}

# 0.2.0-rc.1 comes before 0.2.0 for dpkg only as 0.2.0~rc.1.
package_version() {
    printf '%s-%s' "${VERSION/-/\~}" "$REVISION"
}

package_architecture() {
    case $ARCHITECTURE in
        x86_64) printf amd64 ;;
        aarch64) printf arm64 ;;
    esac
}

# build_package common|manager|worker
build_package() {
    local which=$1 package stage kind mode source place file
    package=$(package_name "$which")
    stage=$WORK/package/$package
    mkdir -p "$stage/DEBIAN"
    while read -r kind mode source place; do
        put_packaged "$kind" "$mode" "$source" "$stage$place"
    done < <(entries_of_package "$which")
    write_changelog "$package" "$stage/usr/share/doc/$package"
    put_maintainer_scripts "$which" "$stage/DEBIAN"
    write_conffiles "$stage"
    write_control "$which" "$stage"
    (cd "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
        >"$stage/DEBIAN/md5sums" || die "no checksums of $package"
    chmod 0644 "$stage/DEBIAN/md5sums"
    find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    file=$WORK/package/${package}_$(package_version)_$(package_architecture).deb
    # One thread: several make other bytes of the same.
    DPKG_DEB_THREADS_MAX=1 SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH dpkg-deb --root-owner-group -Zxz --build "$stage" "$file" \
        >/dev/null || die "$package could not be built"
    (cd "${file%/*}" && sha256sum "${file##*/}" >"$file.sha256")
    deliver "$file"
    deliver "$file.sha256"
}

put_packaged() {
    local kind=$1 mode=$2 source=$3 destination=$4
    if [[ $destination == *.gz && $source != *.gz ]]; then
        put_entry "$kind" "$mode" "$source" "${destination%.gz}"
        gzip -9n "${destination%.gz}"
        destination=${destination%.gz}.gz
    else
        put_entry "$kind" "$mode" "$source" "$destination"
    fi
    [ "$kind" = adapted ] || return 0
    # Where an archive's installation has its things, and where a package has them.
    sed -i -e 's,/opt/task-messenger/bin\>,/usr/bin,g' \
        -e 's,/opt/task-messenger/share/systemd/drop-ins\>,/usr/share/task-messenger/drop-ins,g' \
        -e 's,/opt/task-messenger\>,/usr/share/task-messenger,g' "$destination"
    chmod "$mode" "$destination"
}

write_changelog() {
    local package=$1 directory=$2
    mkdir -p "$directory"
    {
        printf '%s (%s) stable; urgency=medium\n\n' "$package" "$(package_version)"
        printf '  * See /usr/share/doc/task-messenger/changelog.gz for what is new.\n\n'
        printf ' -- %s  %s\n' "$MAINTAINER" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n >"$directory/changelog.Debian.gz"
    chmod 0644 "$directory/changelog.Debian.gz"
}

# The component's scripts, or else those that are for all, with functions and names put in.
put_maintainer_scripts() {
    local which=$1 directory=$2 script source account=task-messenger
    local sources=$CHECKOUT/extras/distribution/debian
    [ "$which" != worker ] || account=task-messenger-worker
    for script in preinst postinst prerm postrm; do
        source=$sources/component.$script
        [ "$which" != common ] || source=$sources/common.$script
        [ -f "$source" ] || source=$sources/$script
        [ -f "$source" ] || die "there is no maintainer script $source"
        put_includes "$source" "$sources/include" |
            sed -e "s/@PACKAGE@/$(package_name "$which")/g; s/@COMPONENT@/$which/g; s/@ACCOUNT@/$account/g" \
                >"$directory/$script"
        bash -n "$directory/$script" || die "$script of $which can't be read"
        chmod 0755 "$directory/$script"
    done
}

put_includes() {
    local line
    while IFS= read -r line; do
        case $line in
            '#INCLUDE '*) cat -- "$2/${line#'#INCLUDE '}" || die "there is no $2/${line#'#INCLUDE '}" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done <"$1"
}

# Files below /etc that an administrator may change, and dpkg then keeps.
write_conffiles() {
    if [ -d "$1/etc" ]; then
        (cd "$1" && find etc -type f -printf '/%p\n' | LC_ALL=C sort) >"$1/DEBIAN/conffiles"
        chmod 0644 "$1/DEBIAN/conffiles"
    fi
}

write_control() {
    local which=$1 stage=$2 package libraries="libc6 (>= $NEWEST_GLIBC), libgcc-s1"
    package=$(package_name "$which")
    {
        cat <<END
Package: $package
Version: $(package_version)
Architecture: $(package_architecture)
Maintainer: $MAINTAINER
Installed-Size: $(installed_size "$stage")
END
        if [ "$which" = common ]; then
            printf 'Depends: %s\n' "$libraries"
        else
            # Units use what came with 249: a credential with something to fall back to.
            printf 'Depends: %s, passwd, systemd (>= 249), task-messenger (= %s)\n' "$libraries" "$(package_version)"
        fi
        [ "$which" != worker ] || printf 'Suggests: task-messenger-manager\n'
        printf 'Section: net\nPriority: optional\n'
        describe_package "$which"
    } >"$stage/DEBIAN/control"
    chmod 0644 "$stage/DEBIAN/control"
}

describe_package() {
    case $1 in
        common)
            cat <<'END'
Description: command line of TaskMessenger
 TaskMessenger turns any set of machines into one place to run work: a manager
 keeps a durable queue of tasks and hands them to a changing fleet of workers.
 .
 This package has the client, which submits work and gets results, and what
 the services of the manager and of workers have in common.
END
            ;;
        manager)
            cat <<'END'
Description: manager of TaskMessenger as a system service
 TaskMessenger turns any set of machines into one place to run work: a manager
 keeps a durable queue of tasks and hands them to a changing fleet of workers.
 .
 This package has the manager. Its service is enabled, and not started by the
 installation.
END
            ;;
        worker)
            cat <<'END'
Description: worker of TaskMessenger as a system service
 TaskMessenger turns any set of machines into one place to run work: a manager
 keeps a durable queue of tasks and hands them to a changing fleet of workers.
 .
 This package has the worker, of which a machine can have several. Its service
 is enabled, and not started by the installation; it has to join a manager
 first.
END
            ;;
    esac
}

# In KiB, as dpkg-gencontrol counts: files rounded up, 1 for everything else.
installed_size() {
    (cd "$1" && find . -path ./DEBIAN -prune -o -printf '%y %s\n') |
        awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }'
}

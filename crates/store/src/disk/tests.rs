//! What every disk does, and what only the real one can show.

use std::io::{ErrorKind, IoSlice};

use super::{Access, Disk, FileDisk, SimulatedDisk, is_full};

/// Every disk behind the same name, the real one in a directory that goes with it.
fn disks() -> (tempfile::TempDir, [Box<dyn Disk>; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let real = FileDisk::new(directory.path().join("store")).unwrap();
    (directory, [Box::new(real), Box::new(SimulatedDisk::new(1))])
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

#[test]
fn files_are_made_found_renamed_and_removed() {
    let (_directory, disks) = disks();
    for disk in disks {
        assert_eq!(disk.list("journal").unwrap(), [""; 0]);
        let kind = |error: std::io::Error| error.kind();
        assert_eq!(disk.read("journal/a").map_err(kind), Err(ErrorKind::NotFound));
        assert_eq!(disk.remove("journal/a").map_err(kind), Err(ErrorKind::NotFound));
        assert_eq!(disk.rename("journal/a", "journal/b").map_err(kind), Err(ErrorKind::NotFound));
        assert!(disk.open("journal/a", Access::Buffered).is_err());
        disk.create("journal/a", 0).unwrap();
        disk.create("journal/b", 5_000).unwrap();
        disk.create("reserve", 1).unwrap();
        assert_eq!(disk.create("journal/a", 7).map_err(kind), Err(ErrorKind::AlreadyExists));
        assert_eq!(disk.read("journal/b").unwrap(), vec![0; 5_000]);
        assert_eq!(sorted(disk.list("journal").unwrap()), ["a", "b"]);
        disk.rename("journal/a", "journal/b").unwrap();
        assert_eq!(disk.list("journal").unwrap(), ["b"]);
        assert_eq!(disk.read("journal/b").unwrap().len(), 0);
        disk.replace("journal/b", b"contents").unwrap();
        disk.create_anew("journal/c", 3).unwrap();
        disk.create_anew("journal/b", 3).unwrap();
        assert_eq!(disk.read("journal/b").unwrap(), vec![0; 3]);
        disk.remove("journal/b").unwrap();
        disk.sync_directory("journal").unwrap();
        assert_eq!(
            (disk.list("journal").unwrap(), disk.list("").unwrap()),
            (vec!["c".to_owned()], vec!["reserve".to_owned()])
        );
        let space = disk.space().unwrap();
        assert!(space.free > 0 && space.free <= space.total);
        let entropy = [disk.entropy().unwrap(), disk.entropy().unwrap()];
        assert!(entropy[0] != entropy[1]);
    }
}

#[test]
fn what_was_written_is_read_wherever_it_is_and_however_long_the_file_gets() {
    let (_directory, disks) = disks();
    for disk in disks {
        disk.create("file", 4_096).unwrap();
        for access in [Access::Buffered, Access::Through] {
            let file = disk.open("file", access).unwrap();
            let pieces = [vec![1; 4_096], vec![2; 8_192], vec![3; 4_096]];
            // Behind the end, so that the file grows.
            file.write_at(4_096, &pieces.each_ref().map(|piece| IoSlice::new(piece))).unwrap();
            file.sync().unwrap();
            assert_eq!(file.length().unwrap(), 20_480, "{access:?}");
            let mut found = vec![9; 6_000];
            assert_eq!(file.read_at(15_000, &mut found).unwrap(), 5_480);
            assert!(found[..1_384] == vec![2; 1_384] && found[1_384..5_480] == vec![3; 4_096]);
            assert_eq!(file.read_at(20_480, &mut found).unwrap(), 0);
            file.set_length(4_100).unwrap();
            file.set_length(12_288).unwrap();
            let expected = [vec![0; 4_096], vec![1; 4], vec![0; 8_188]].concat();
            assert!(disk.read("file").unwrap() == expected, "{access:?}");
            file.set_length(4_096).unwrap();
            assert_eq!(file.length().unwrap(), 4_096);
        }
        let read_only = disk.open("file", Access::Read).unwrap();
        assert!(read_only.write_at(0, &[IoSlice::new(&[1; 4_096])]).is_err());
    }
}

#[test]
fn only_a_full_disk_is_full() {
    for (kind, expected) in
        [(ErrorKind::StorageFull, true), (ErrorKind::QuotaExceeded, true), (ErrorKind::PermissionDenied, false)]
    {
        assert_eq!(is_full(&kind.into()), expected, "{kind:?}");
    }
    // What can't be removed isn't made anew: the reason is told.
    let disk = SimulatedDisk::new(1);
    disk.create("file", 1).unwrap();
    disk.fault_at(disk.operations(), super::Fault::Error);
    assert_eq!(disk.create_anew("file", 2).unwrap_err().kind(), ErrorKind::Other);
}

#[cfg(target_os = "linux")]
#[test]
fn the_real_disk_reserves_space_waits_for_the_device_and_is_its_owners_alone() {
    use std::{
        fs::{self, OpenOptions},
        os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    };

    use rustix::fs::OFlags;
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(directory.path().join("store")).unwrap();
    assert_eq!(fs::metadata(disk.directory()).unwrap().permissions().mode() & 0o777, 0o700);
    let path = disk.directory().join("file");
    let reserved = || fs::metadata(&path).unwrap().blocks() * 512;
    disk.create("file", 1 << 20).unwrap();
    assert!(reserved() >= 1 << 20);
    let file = disk.open("file", Access::Through).unwrap();
    file.set_length(2 << 20).unwrap();
    assert!(reserved() >= 2 << 20);
    // A copy may have no space where its zeros are.
    fs::File::create(&path).unwrap().set_len(3 << 20).unwrap();
    file.set_length(3 << 20).unwrap();
    assert!(reserved() >= 3 << 20);

    let direct = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(&path);
    // A file system in memory has no device.
    if direct.is_ok() {
        drop(direct);
        let is_it = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target == path);
        let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap()).find(is_it).unwrap();
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", open.file_name().display())).unwrap();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = OFlags::from_bits_retain(u32::from_str_radix(flags, 8).unwrap());
        assert!(flags.contains(OFlags::DIRECT | OFlags::DSYNC), "{about}");
    }
    // What can't be listed isn't empty.
    assert!(disk.list("file").is_err());
    assert_eq!(disk.open("absent", Access::Through).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(!path.with_file_name("absent").exists());
}

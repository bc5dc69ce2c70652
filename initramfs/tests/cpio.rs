//! The archive, judged by GNU cpio and byte by byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use initramfs::{ArchiveError, BASE, Contents, DOCUMENT, List};

const PROGRAM: &[u8] = b"\x7fELF odd length";

fn archive() -> Vec<u8> {
    let list = List::parse(&[DOCUMENT, BASE]).unwrap();
    list.archive(&Contents::from([("APPLIANCE", PROGRAM), ("DOCUMENT", b"a = 1\n")])).unwrap()
}

/// Runs GNU cpio over `input`, or says loudly that it is not there.
fn cpio(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new("cpio")
        .args(arguments)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: no cpio on this machine, the archive was not read back by another program");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn gnu_cpio_lists_every_entry_with_root_as_owner_and_no_time() {
    let Some(listing) = cpio(&["-itv", "--numeric-uid-gid", "--quiet"], &archive()) else { return };
    let listing = String::from_utf8(listing).unwrap();
    let lines: Vec<String> =
        listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "drwxr-xr-x 2 0 0 0 Jan 1 1970 dev",
        "crw------- 1 0 0 5, 1 Jan 1 1970 dev/console",
        "dr-xr-xr-x 2 0 0 0 Jan 1 1970 etc",
        "dr-xr-xr-x 2 0 0 0 Jan 1 1970 etc/lethe",
        "-r--r--r-- 1 0 0 6 Jan 1 1970 etc/lethe/config.toml",
        "-r-xr-xr-x 1 0 0 15 Jan 1 1970 init",
        "dr-xr-xr-x 2 0 0 0 Jan 1 1970 proc",
        "dr-xr-xr-x 2 0 0 0 Jan 1 1970 sys",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn gnu_cpio_gives_back_the_bytes_of_a_file() {
    let Some(bytes) = cpio(&["-i", "--to-stdout", "--quiet", "init"], &archive()) else { return };
    assert_eq!(bytes, PROGRAM);
}

/// Files made in a directory, archived by GNU cpio in its reproducible mode, are byte for byte what we write.
#[test]
fn gnu_cpio_writes_the_same_bytes() {
    let list = List::parse(&["dir /d 0755 0 0\nfile /d/f ${F} 0644 0 0\nfile /g ${G} 0555 0 0\n"]).unwrap();
    let ours = list.archive(&Contents::from([("F", b"first".as_slice()), ("G", b"second file".as_slice())])).unwrap();

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/f"), "first").unwrap();
    std::fs::write(folder.path().join("g"), "second file").unwrap();
    for (path, mode) in [("d/f", 0o644), ("g", 0o555), ("d", 0o755)] {
        let path = folder.path().join(path);
        std::fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let directory = folder.path().to_str().unwrap();
    let arguments = ["-o", "-H", "newc", "--reproducible", "--quiet", "-R", "+0:+0", "-D", directory];
    let Some(theirs) = cpio(&arguments, b"d\nd/f\ng\n") else { return };
    // Where GNU cpio starts to count inodes depends on its version; it fills the last block of 512 bytes with zeros.
    let end = theirs.iter().rposition(|byte| *byte != 0).unwrap();
    let end = (end + 1).next_multiple_of(4);
    assert_eq!(without_inodes(&theirs[..end]), without_inodes(&ours[..end]));
    assert!(ours[end..].iter().all(|byte| *byte == 0));
}

/// The archive with the eight digits of each inode number overwritten.
fn without_inodes(archive: &[u8]) -> Vec<u8> {
    let mut copy = archive.to_vec();
    let starts: Vec<usize> =
        copy.windows(6).enumerate().filter(|(_, window)| *window == b"070701").map(|(index, _)| index).collect();
    for start in starts {
        copy[start + 6..start + 14].copy_from_slice(b"--------");
    }
    copy
}

#[test]
fn order_of_texts_and_lines_does_not_matter() {
    let list = List::parse(&[BASE, DOCUMENT]).unwrap();
    let again = list.archive(&Contents::from([("DOCUMENT", b"a = 1\n".as_slice()), ("APPLIANCE", PROGRAM)])).unwrap();
    assert_eq!(again, archive());
}

#[test]
fn one_changed_byte_of_a_file_changes_one_byte_of_the_archive() {
    let list = List::parse(&[BASE]).unwrap();
    let one = list.archive(&Contents::from([("APPLIANCE", b"aaaa".as_slice())])).unwrap();
    let two = list.archive(&Contents::from([("APPLIANCE", b"aaba".as_slice())])).unwrap();
    assert_eq!(one.iter().zip(&two).filter(|(a, b)| a != b).count(), 1);
}

#[test]
fn inodes_are_sequential_and_every_time_is_zero() {
    let archive = archive();
    let field = |start: usize, index: usize| {
        let at = start + 6 + 8 * index;
        u32::from_str_radix(std::str::from_utf8(&archive[at..at + 8]).unwrap(), 16).unwrap()
    };
    let mut start = 0;
    let mut inodes = Vec::new();
    loop {
        assert_eq!(&archive[start..start + 6], b"070701");
        assert_eq!((field(start, 2), field(start, 3), field(start, 5)), (0, 0, 0));
        let name = field(start, 11) as usize;
        let size = field(start, 6) as usize;
        if &archive[start + 110..start + 110 + name] == b"TRAILER!!!\0" {
            break;
        }
        inodes.push(field(start, 0));
        start = ((start + 110 + name).next_multiple_of(4) + size).next_multiple_of(4);
    }
    assert_eq!(inodes, (1..=8).collect::<Vec<u32>>());
}

#[test]
fn content_that_is_missing_or_unused_is_refused() {
    let list = List::parse(&[BASE]).unwrap();
    assert_eq!(list.archive(&Contents::new()), Err(ArchiveError::MissingContent("APPLIANCE".into())));
    let both = Contents::from([("APPLIANCE", PROGRAM), ("DOCUMENT", b"x".as_slice())]);
    assert_eq!(list.archive(&both), Err(ArchiveError::UnusedContent("DOCUMENT".into())));
}

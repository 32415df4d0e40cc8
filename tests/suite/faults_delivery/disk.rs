//! A disk of a test's own: an ext4 image that can be filled to its last block, and that can turn read-only as one does
//! whose kernel found an error in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use crate::needs;
use crate::site::Site;

/// A mounted image; unmounted, and its loop device freed, when it goes.
pub(super) struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None`, after saying why, where no image can be mounted.
    pub(super) fn new() -> Option<Self> {
        for tool in ["mkfs.ext4", "mount", "umount", "e2fsck", "findmnt"] {
            needs::tool(tool)?;
        }
        if !needs::mounts() {
            return None;
        }
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        File::create(disk.image()).and_then(|file| file.set_len(DISK_BYTES)).expect("an image");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(disk.image()));
        std::fs::create_dir(disk.path()).expect("a folder");
        disk.mount();
        Some(disk)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Takes all room but so many bytes.
    pub(super) fn fill_but(&self, rest: u64) {
        let file = File::create(self.path().join(FILLER)).expect("a file");
        let (mut taken, mut step) = (0, 64 << 20);
        while step >= BLOCK_BYTES {
            let room = self.free() >= rest + step;
            if room && fallocate(&file, FallocateFlags::empty(), taken, step).is_ok() {
                taken += step;
            } else {
                step /= 2;
            }
        }
        assert!(self.free() < rest + BLOCK_BYTES, "{} bytes are still free", self.free());
    }

    /// Gives back what was taken.
    pub(super) fn make_room(&self) {
        std::fs::remove_file(self.path().join(FILLER)).expect("the file that took the room");
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).expect("a disk");
        disk.f_bavail * disk.f_frsize
    }

    /// The kernel finds an error in it: from now on nothing can be written, whoever has what open.
    pub(super) fn turn_read_only(&self) {
        let source = Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.path()).output().expect("findmnt runs");
        let source = String::from_utf8(source.stdout).expect("text");
        let device = Path::new(source.trim()).file_name().expect("a device").to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::io::Write::write_all(&mut File::options().write(true).open(trigger).expect("a loop device"), b"test")
            .expect("an error is found");
        File::create(self.path().join("probe")).expect_err("a disk that is read-only");
    }

    /// What an operator does about it. Nobody may have a file open there.
    pub(super) fn mend(&self) {
        self.unmount();
        let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(self.image()).stdin(Stdio::null()).output();
        assert_eq!(checked.expect("e2fsck runs").status.code(), Some(1), "errors were found and mended");
        self.mount();
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(self.image()).arg(self.path()));
    }

    fn unmount(&self) {
        // A process that was just killed may hold it for a moment.
        for _ in 0..100 {
            if Command::new("umount").arg(self.path()).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("cannot unmount {}", self.path().display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Starts a daemon as the service manager does when one has ended, and ends it. Gives what it said if it could not serve.
pub(super) fn try_to_start(site: &Site) -> Option<String> {
    let mut command = crate::site::medseal();
    command.args(["serve", "--home"]).arg(&site.home).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut daemon = command.spawn().expect("medseal runs");
    let deadline = Instant::now() + Duration::from_mins(1);
    while daemon.try_wait().expect("our child").is_none() && site.run(&["queue"]).status != 0 {
        assert!(Instant::now() < deadline, "it neither serves nor ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = daemon.try_wait().expect("our child").is_some();
    // One that has ended by now is as dead as one that is killed.
    drop(daemon.kill());
    let said = daemon.wait_with_output().expect("it has ended").stderr;
    ended.then(|| String::from_utf8_lossy(&said).into_owned())
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Half as much again as a gateway keeps free. It holds holes alone.
const DISK_BYTES: u64 = 1536 << 20;
const BLOCK_BYTES: u64 = 4096;
const FILLER: &str = "filler";

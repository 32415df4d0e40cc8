//! The rig: an ext4 image on a loop device, a writer in it, and a copy taken at a random moment.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, waitpid};

use crate::{beginnings, needs, setting, store, vault};

/// Names the folder in which the writer works; set in the writer's process only.
pub(crate) const WRITER: &str = "MEDSEAL_POWER_CUT_WRITER";
const SUBJECT: &str = "MEDSEAL_POWER_CUT_SUBJECT";
const ACKS: &str = "MEDSEAL_POWER_CUT_ACKS";

/// What is written and looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    /// The sled engine.
    Store,
    /// The sled engine as sled alone would be.
    StoreWithoutFdatasync,
    /// The vault.
    Vault,
    /// A store and a vault that were just made.
    Beginnings,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Store, Self::StoreWithoutFdatasync, Self::Vault, Self::Beginnings];

    /// The latest moment of a cut, in milliseconds.
    const fn last_ms(self) -> u64 {
        match self {
            Self::Beginnings => 500,
            _ => 800,
        }
    }

    /// The one that the rig told this process to write.
    pub(crate) fn from_environment() -> Self {
        let name = std::env::var(SUBJECT).expect("the rig names the subject");
        Self::ALL.into_iter().find(|subject| format!("{subject:?}") == name).expect("a subject")
    }

    /// How many entries are there whole, or what is wrong, when at least `acknowledged` should be.
    fn check(self, dir: &Path, acknowledged: Option<u64>) -> Result<u64, String> {
        match self {
            Self::Store | Self::StoreWithoutFdatasync => store::check(dir, acknowledged),
            Self::Vault => vault::check(dir, acknowledged),
            Self::Beginnings => beginnings::check(dir, acknowledged),
        }
    }
}

/// What the writer was told is durable: a file outside the image, one number per line.
pub(crate) struct Acks(File);

impl Acks {
    /// The file that the rig named.
    pub(crate) fn from_environment() -> Self {
        let path = std::env::var_os(ACKS).expect("the rig names the file");
        Self(OpenOptions::new().append(true).open(path).expect("the file of the acknowledgements"))
    }

    /// Says that the first `count` entries are durable; what an entry is, is the subject's business.
    pub(crate) fn acknowledge(&self, count: u64) {
        (&self.0).write_all(format!("{count}\n").as_bytes()).expect("an acknowledgement");
    }
}

/// What the cuts showed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Cuts made.
    pub(crate) cuts: u64,
    /// Entries acknowledged in all of them.
    pub(crate) acknowledged: u64,
    /// One line per cut after which something was lost or broken.
    pub(crate) faults: Vec<String>,
}

/// The folder of one series of cuts, and where its moments come from.
pub(crate) struct Rig {
    base: tempfile::TempDir,
    random: Random,
}

impl Rig {
    /// `None`, after saying why, where no image can be mounted.
    pub(crate) fn new() -> Option<Self> {
        for tool in ["mkfs.ext4", "mount", "umount"] {
            needs::tool(tool)?;
        }
        if !geteuid().is_root() {
            return cannot_run("only root may mount an image");
        }
        let base = tempfile::Builder::new().prefix("medseal-power-cut-").tempdir().expect("a folder");
        let rig = Self { base, random: Random(setting("MEDSEAL_SEED", 1)) };
        rig.make_image();
        match Mounted::new(&rig.image(), &rig.base.path().join("live")) {
            Ok(_unmounted_at_once) => Some(rig),
            Err(why) => cannot_run(&why),
        }
    }

    /// Cuts the power until `enough` or `cuts` times. A device whose content was whole goes on, a few times, with the next
    /// cut: what a start after a cut makes of it is cut again.
    pub(crate) fn cut(&mut self, subject: Subject, cuts: u64, enough: impl Fn(&Tally) -> bool) -> Tally {
        let mut tally = Tally::default();
        let mut lives = 0;
        let mut kept = None;
        while tally.cuts < cuts && !enough(&tally) {
            if lives == 0 {
                self.make_image();
                kept = None;
            }
            let acknowledged = self.write_and_cut(subject).max(kept);
            tally.cuts += 1;
            tally.acknowledged += acknowledged.unwrap_or(0) - kept.unwrap_or(0);
            let outcome = self.look(subject, acknowledged);
            say(format_args!("{subject:?}, cut {}: acknowledged {acknowledged:?}, {outcome:?}", tally.cuts));
            match outcome {
                Ok(found) => {
                    kept = acknowledged.and(Some(found));
                    lives = (lives + 1) % LIVES;
                    replace(&self.copy(), &self.image());
                }
                Err(fault) => {
                    tally.faults.push(format!("cut {}: acknowledged {acknowledged:?}: {fault}", tally.cuts));
                    lives = 0;
                }
            }
        }
        tally
    }

    /// Lets the writer work, stops it at a random moment, copies the device. What was acknowledged until then.
    fn write_and_cut(&mut self, subject: Subject) -> Option<u64> {
        let acks = self.base.path().join("acks");
        File::create(&acks).expect("the file of the acknowledgements");
        let live = Mounted::new(&self.image(), &self.base.path().join("live")).expect("the image mounts");
        let writer = Writer::start(subject, &live.0.join("home"), &acks);
        std::thread::sleep(Duration::from_millis(self.random.between(5, subject.last_ms())));
        writer.stop();
        copy_sparse(&self.image(), &self.copy()).expect("the device is copied");
        drop(writer);
        let said = fs::read_to_string(&acks).expect("acknowledgements");
        said.lines().next_back().map(|line| line.parse().expect("a number"))
    }

    /// Mounts the copy, as the start after the cut does, and looks.
    fn look(&self, subject: Subject, acknowledged: Option<u64>) -> Result<u64, String> {
        let after = Mounted::new(&self.copy(), &self.base.path().join("after"))?;
        subject.check(&after.0.join("home"), acknowledged)
    }

    fn image(&self) -> PathBuf {
        self.base.path().join("live.img")
    }

    fn copy(&self) -> PathBuf {
        self.base.path().join("after.img")
    }

    fn make_image(&self) {
        let image = self.image();
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("an image");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&image)).expect("an ext4");
    }
}

/// A mounted image; unmounted, and its loop device freed, when it goes.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).expect("a folder");
        // The journal is written when someone syncs, not because five seconds have passed just then.
        run(Command::new("mount").args(["-o", "loop,commit=300"]).arg(image).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that was just killed may hold it for a moment.
        for _ in 0..100 {
            if run(Command::new("umount").arg(&self.0)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        say(format_args!("cannot unmount {}", self.0.display()));
    }
}

/// The writer's process; killed when it goes.
struct Writer(Child);

impl Writer {
    fn start(subject: Subject, dir: &Path, acks: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_writer_writes_until_it_is_cut", "--nocapture"])
            .env(WRITER, dir)
            .env(SUBJECT, format!("{subject:?}"))
            .env(ACKS, acks)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the writer starts"))
    }

    /// Stops it, and returns when every thread of it stands still.
    fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the writer lives");
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("waited").expect("a status");
        assert!(status.stopped(), "the writer ended by itself: {status:?}");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Copies what is not a hole.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create(to)?;
    target.set_len(source.metadata()?.len())?;
    let mut offset = 0;
    while let Ok(start) = rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(offset)) {
        let end = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(start))?;
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        io::copy(&mut (&source).take(end - start), &mut target)?;
        offset = end;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "an image of this test need not survive a power cut of this machine")]
fn replace(from: &Path, to: &Path) {
    fs::rename(from, to).expect("the copy goes on as the image");
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn cannot_run(why: &str) -> Option<Rig> {
    assert!(
        std::env::var_os("MEDSEAL_REQUIRE").is_none_or(|value| value != "1"),
        "the power-cut rig cannot run: {why}"
    );
    say(format_args!("the power-cut rig cannot run, nothing tested: {why}"));
    None
}

#[allow(clippy::print_stdout, reason = "each cut is reported as it is made")]
fn say(line: fmt::Arguments<'_>) {
    println!("{line}");
}

/// `SplitMix64`: the same seed gives the same moments.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Vec<u8> {
        let count = usize::try_from(count).expect("few bytes");
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

const IMAGE_BYTES: u64 = 256 * 1024 * 1024;
/// How often a device goes on after a cut before a new one is made.
const LIVES: u32 = 4;

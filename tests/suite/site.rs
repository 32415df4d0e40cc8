//! Real gateways for tests: each a home of its own and the daemon as a process, driven through the command line.

#![allow(dead_code, reason = "not every test needs every move")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use medseal::sample_case;
use serde_json::Value;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) json: Value,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The answer of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "the command failed: {}{}", self.stdout, self.stderr);
        self
    }

    /// The answer of a command that must have been refused with this code.
    #[track_caller]
    pub(crate) fn refused(self, code: &str) -> Self {
        assert_eq!(self.status, 1, "the command was not refused: {}{}", self.stdout, self.stderr);
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(said.contains(code), "refused, but not with {code}: {said}");
        self
    }

    /// A text field of the JSON answer.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        self.json[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.stdout)).to_owned()
    }
}

/// One institution with its gateway.
pub(crate) struct Site {
    pub(crate) id: &'static str,
    pub(crate) home: PathBuf,
    pub(crate) port: u16,
    daemon: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Site {
    /// Makes the home of an institution; its gateway does not run yet.
    pub(crate) fn init(folder: &Path, id: &'static str, country: &str) -> Self {
        Self::init_at(folder, id, country, free_port())
    }

    /// The same, at this port.
    pub(crate) fn init_at(folder: &Path, id: &'static str, country: &str, port: u16) -> Self {
        Self::init_behind(folder, id, country, port, port)
    }

    /// The same, where partners dial another port than it listens at: something of the test's own stands between.
    pub(crate) fn init_behind(folder: &Path, id: &'static str, country: &str, port: u16, front: u16) -> Self {
        let site = Self { id, home: folder.join(id), port, daemon: None };
        let (endpoint, listen) = (format!("https://localhost:{front}"), format!("127.0.0.1:{port}"));
        site.run(&[
            "init",
            "--id",
            id,
            "--name",
            id,
            "--country",
            country,
            "--endpoint",
            &endpoint,
            "--listen",
            &listen,
        ])
        .ok();
        site
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the daemon with variables in its environment.
    pub(crate) fn start_with(&mut self, env: &[(&str, &str)]) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.home.join("daemon.log")).expect("a log file");
        self.start_to(log.into(), env);
    }

    /// Starts the daemon with these events told to a pipe.
    ///
    /// Each event that the test has not heard yet holds a thread of the daemon: it gets more of them than a small machine
    /// would give it, so that the others go on.
    pub(crate) fn start_telling(&mut self, events: &str, pipe: std::io::PipeWriter) {
        self.start_telling_with(events, pipe, &[]);
    }

    /// The same, with more variables in its environment.
    pub(crate) fn start_telling_with(&mut self, events: &str, pipe: std::io::PipeWriter, more: &[(&str, &str)]) {
        let telling = [("MEDSEAL_LOG", events), ("TOKIO_WORKER_THREADS", "8")];
        self.start_to(pipe.into(), &[&telling, more].concat());
    }

    fn start_to(&mut self, stderr: Stdio, env: &[(&str, &str)]) {
        let mut command = medseal();
        command.args(["serve", "--home"]).arg(&self.home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        for (name, value) in env {
            command.env(name, value);
        }
        self.daemon = Some(command.spawn().expect("the daemon starts"));
        self.wait_until(|queue| queue.status == 0);
    }

    /// Starts the daemon of a home that it will not trust, and waits until it says so.
    pub(crate) fn start_read_only(&mut self) {
        self.daemon = Some(medseal().args(["serve", "--home"]).arg(&self.home).spawn().expect("the daemon starts"));
        self.wait_until(|queue| format!("{}{}", queue.stdout, queue.stderr).contains("STORE_ROLLED_BACK"));
    }

    fn wait_until(&mut self, ready: impl Fn(&Ran) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !ready(&self.run(&["queue"])) {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
            assert!(ended.is_none() && Instant::now() < deadline, "the daemon does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the daemon as systemd does, and waits for its orderly end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            signal(&daemon, "-TERM");
            let status = daemon.wait().expect("the daemon ends");
            assert!(status.success(), "the daemon ended with {status}: {}", self.log());
        }
    }

    /// Tells the daemon that its policy folder has changed, as systemd may.
    pub(crate) fn hang_up(&self) {
        signal(self.daemon.as_ref().expect("the daemon runs"), "-HUP");
    }

    /// Ends the daemon without a word to it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("the daemon is ours to end");
            daemon.wait().expect("the daemon has ended");
        }
    }

    /// The process id of the daemon, which runs.
    pub(crate) fn daemon_id(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Whether the daemon ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(|daemon| daemon.try_wait().expect("our child").is_some())
    }

    /// What the daemon wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default()
    }

    /// Waits until the daemon has written the phrase after what it had written before.
    pub(crate) fn wait_for_log(&self, before: usize, phrase: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.log()[before..].contains(phrase) {
            assert!(Instant::now() < deadline, "the daemon never said {phrase:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command for this site, with `--json`.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = medseal().arg("--home").arg(&self.home).arg("--json").args(args).stdin(Stdio::null()).output();
        ran(&output.expect("medseal runs"))
    }

    /// Exchanges cards with a partner, by fingerprint.
    pub(crate) fn befriend(&self, other: &Self) {
        let card = self.home.join(format!("card-of-{}", other.id));
        let shown = other.run(&["card", "--out", card.to_str().expect("a path")]).ok();
        self.run(&["partner", "add", card.to_str().expect("a path"), "--fingerprint", &shown.text("fingerprint")]).ok();
    }

    /// Waits until a bundle is in one of these states, and says in which.
    #[track_caller]
    pub(crate) fn wait_for(&self, bundle: &str, states: &[&str]) -> Ran {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let shown = self.run(&["status", bundle]).ok();
            if states.contains(&shown.text("state").as_str()) {
                return shown;
            }
            assert!(Instant::now() < deadline, "never {states:?}: {} {}", shown.stdout, self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

/// A hospital that knows an institute and is known by it, with the sample case's consent on file and the case open.
pub(crate) struct Pair {
    pub(crate) hospital: Site,
    pub(crate) institute: Site,
    pub(crate) case: String,
    pub(crate) consent: String,
    pub(crate) sample: sample_case::SampleCase,
    pub(crate) folder: tempfile::TempDir,
}

impl Pair {
    /// Both gateways running, and ready to send.
    pub(crate) fn ready() -> Self {
        let mut pair = Self::silent();
        pair.consent = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
        pair
    }

    /// Both gateways running and the case open, and no consent on file.
    pub(crate) fn silent() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let hospital = Site::init(folder.path(), "tallinn-east", "EE");
        let institute = Site::init(folder.path(), "nordhafen", "DE");
        Self::of(folder, hospital, institute)
    }

    /// These two, both running, with the case open and no consent on file.
    pub(crate) fn of(folder: tempfile::TempDir, mut hospital: Site, mut institute: Site) -> Self {
        hospital.start();
        institute.start();
        hospital.befriend(&institute);
        institute.befriend(&hospital);
        let case_folder = folder.path().join("sample");
        std::fs::create_dir(&case_folder).expect("a folder");
        let sample = sample_case::write_to(&case_folder).expect("the sample case");
        let case = open_case(&hospital, &institute);
        Self { hospital, institute, case, consent: String::new(), sample, folder }
    }

    /// The folder of the sample case's documents.
    pub(crate) fn documents(&self) -> String {
        self.sample.documents_dir.to_str().expect("a path").to_owned()
    }

    /// The flags that describe the sample case's documents.
    pub(crate) fn send(&self, more: &[&str]) -> Ran {
        let documents = self.documents();
        let list = self.sample.documents_list.to_str().expect("a path").to_owned();
        let mut args = vec!["send", &documents, "--case", &self.case, "--documents", &list];
        args.extend_from_slice(more);
        self.hospital.run(&args)
    }
}

/// Records the sample patient's consent to this recipient.
pub(crate) fn add_consent(hospital: &Site, folder: &Path, recipient: &Site, country: &str) -> String {
    let text = sample_case::consent_json(
        &sample_case::patient(),
        &recipient.id.parse().expect("an id"),
        &country.parse().expect("a country"),
        "2026-01-01".parse().expect("a day"),
        "2036-01-01".parse().expect("a day"),
    );
    let text = another(&text);
    let path = folder.join(format!("consent-{}.json", recipient.id));
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .expect("written");
    hospital.run(&["consent", "add", path.to_str().expect("a path")]).ok().text("consent")
}

/// The same consent under an id of its own: the very same is on file once only.
pub(crate) fn another(consent: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    consent.replace("sample-consent", &format!("sample-consent-{}", MADE.fetch_add(1, Ordering::Relaxed)))
}

/// Opens the sample patient's case with this partner.
pub(crate) fn open_case(hospital: &Site, partner: &Site) -> String {
    let patient = sample_case::patient().to_string();
    let args = [
        "case",
        "open",
        "--patient",
        &patient,
        "--partner",
        partner.id,
        "--purpose",
        "TREAT",
        "--question",
        "Operate?",
    ];
    hospital.run(&args).ok().text("case")
}

/// The program under test.
pub(crate) fn medseal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medseal"));
    command.env_remove("MEDSEAL_HOME").env("NO_COLOR", "1");
    command
}

/// Reads the output of a command.
pub(crate) fn ran(output: &std::process::Output) -> Ran {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ran {
        status: output.status.code().unwrap_or(-1),
        json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
        stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A port that nobody listens on, below those that the kernel hands out by itself: a gateway that is stopped and started
/// again finds it still free.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(2_654_435_761) % PORTS;
    loop {
        let offset = (first + TRIED.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = PORT_FIRST + u16::try_from(offset).expect("below 65,536");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The kernel hands out 32768 and above, unless it is told otherwise.
const PORT_FIRST: u16 = 12_000;
const PORTS: u32 = 20_000;

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

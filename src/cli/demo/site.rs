//! One institution of the demo: a home, its daemon as a process, and commands run on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::super::failure::Failure;
use crate::sample_case::SampleInstitution;

/// One institution of the demo. Its daemon ends with it.
pub(super) struct Site {
    who: SampleInstitution,
    home: PathBuf,
    port: u16,
    daemon: Option<Child>,
}

/// What a command answered.
pub(super) struct Ran {
    status: Option<i32>,
    /// The JSON object that it printed.
    pub(super) answer: Value,
    words: String,
}

impl Ran {
    /// The answer of a command that was carried out.
    pub(super) fn done(self) -> Result<Value, Failure> {
        match self.status {
            Some(0) => Ok(self.answer),
            _ => Err(Failure::unable(format!("the demo did not go as it should: {}", self.words.trim()))),
        }
    }

    /// The code and the sentence of a command that was refused, as it had to be.
    pub(super) fn refused(self) -> Result<(String, String), Failure> {
        let said = |field: &str| self.answer["error"][field].as_str().unwrap_or_default().to_owned();
        match self.status {
            Some(1) => Ok((said("code"), said("text"))),
            _ => Err(Failure::unable(format!("the demo expected a refusal: {} {}", self.answer, self.words.trim()))),
        }
    }
}

impl Site {
    /// Makes the home of an institution on a free port.
    pub(super) fn init(folder: &Path, who: SampleInstitution) -> Result<Self, Failure> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .map_err(|error| Failure::unable(format!("no free port: {error}")))?
            .port();
        let site = Self { home: folder.join(who.id), who, port, daemon: None };
        let (endpoint, listen) = (format!("https://localhost:{port}"), format!("127.0.0.1:{port}"));
        let who = &site.who;
        site.run(&[
            "init",
            "--id",
            who.id,
            "--name",
            who.name,
            "--country",
            who.country,
            "--endpoint",
            &endpoint,
            "--listen",
            &listen,
        ])?
        .done()?;
        Ok(site)
    }

    /// Its id in the exchange.
    pub(super) const fn id(&self) -> &'static str {
        self.who.id
    }

    /// Its name, as a person reads it.
    pub(super) const fn name(&self) -> &'static str {
        self.who.name
    }

    /// Its country.
    pub(super) const fn country(&self) -> &'static str {
        self.who.country
    }

    /// Where its gateway lies.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The port on which it listens for partners.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Starts the daemon, and comes back when it answers.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.join("daemon.log"))
            .map_err(|error| Failure::unable(format!("the daemon's log: {error}")))?;
        let daemon = self
            .command()
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Failure::unable(format!("the daemon of {} did not start: {error}", self.who.id)))?;
        self.daemon = Some(daemon);
        for _ in 0..STARTS {
            if self.run(&["queue"])?.status == Some(0) {
                return Ok(());
            }
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
            if ended.is_some() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let log = std::fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default();
        Err(Failure::unable(format!("the daemon of {} does not answer: {}", self.who.id, log.trim())))
    }

    /// Ends the daemon as the service manager does.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        terminate(&daemon);
        daemon.wait().map(|_| ()).map_err(|error| Failure::unable(format!("the daemon of {}: {error}", self.who.id)))
    }

    /// Waits until the daemon ends.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let Some(daemon) = self.daemon.as_mut() else { return Ok(()) };
        daemon.wait().map(|_| ()).map_err(|error| Failure::unable(format!("the daemon of {}: {error}", self.who.id)))
    }

    /// Runs a command of this program on this gateway.
    pub(super) fn run(&self, args: &[&str]) -> Result<Ran, Failure> {
        let output = self
            .command()
            .arg("--json")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::unable(format!("medseal {}: {error}", args[0])))?;
        Ok(Ran {
            status: output.status.code(),
            answer: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            words: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("medseal"));
        let mut command = Command::new(program);
        command.arg("--home").arg(&self.home).env("NO_COLOR", "1");
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            terminate(&daemon);
            // Whether it was still there or not: it has ended after this.
            drop(daemon.wait());
        }
    }
}

fn terminate(daemon: &Child) {
    if let Some(process) = i32::try_from(daemon.id()).ok().and_then(rustix::process::Pid::from_raw)
        && let Err(error) = rustix::process::kill_process(process, rustix::process::Signal::TERM)
    {
        tracing::warn!(%error, "a daemon of the demo could not be told to end");
    }
}

const STARTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(20);

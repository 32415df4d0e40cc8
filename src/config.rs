//! What the operator gives: medseal.toml, and every limit of the gateway with its unit and default.
//!
//! Rule: an unknown key, a missing one or a value out of range stops the start, naming file, key and what is allowed.
//! Secrets never stand here; the key folder beside it holds them.

mod abdm;
mod retention;
mod staff;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{Country, IdError, InstitutionId};

pub use abdm::Abdm;
pub use retention::Retention;
pub use staff::{People, Staff};

/// One institution's gateway, as its home folder describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The institution's id in the exchange, such as `st-mary`.
    pub id: InstitutionId,
    /// The institution's name, as a person reads it.
    pub name: String,
    /// The country it is in, ISO 3166-1 alpha-2.
    pub country: Country,
    /// Where partners reach this gateway: `https://HOST:PORT`.
    pub endpoint: String,
    /// The address it listens on for partners: `IP:PORT`.
    pub listen: String,
    /// The zone in which a date without a time begins and ends, an IANA name such as `Asia/Kolkata`.
    pub timezone: String,
    /// What is assumed of documents that carry no label.
    #[serde(default)]
    pub intake: Intake,
    /// How partners are met on the line.
    #[serde(default)]
    pub exchange: Exchange,
    /// When a delivery that failed is tried again, and when it is given up.
    #[serde(default)]
    pub retry: Retry,
    /// Who works with the gateway beside its owner.
    #[serde(default)]
    pub staff: Staff,
    /// Emergencies in which no consent can be asked for.
    #[serde(default)]
    pub break_glass: BreakGlass,
    /// Who is who in India's health network.
    #[serde(default)]
    pub abdm: Abdm,
    /// How long what is on file of a patient must be kept.
    #[serde(default)]
    pub retention: Retention,
    /// How partners are asked to sign under our checkpoints.
    #[serde(default)]
    pub witness: Witness,
    /// Upper limits; past them the answer is a clear refusal.
    #[serde(default)]
    pub limits: Limits,
}

/// What is assumed of documents that carry no label.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Intake {
    /// The confidentiality assumed where none is stated: `U`, `L`, `M`, `N`, `R` or `V`. Recorded as assumed.
    pub assumed_confidentiality: String,
}

impl Default for Intake {
    fn default() -> Self {
        Self { assumed_confidentiality: "N".to_owned() }
    }
}

/// Which key exchange partners must offer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PostQuantum {
    /// X25519MLKEM768 or no connection.
    #[default]
    Require,
    /// X25519MLKEM768 first, classical curves for partners with older software.
    Prefer,
}

/// How partners are met on the line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exchange {
    /// Whether partners must offer post-quantum key exchange.
    pub post_quantum: PostQuantum,
    /// How many bundles travel to one partner at the same time.
    pub concurrent_per_partner: u32,
    /// How far a partner's clock may be off, in seconds.
    pub clock_skew_s_max: u32,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { post_quantum: PostQuantum::Require, concurrent_per_partner: 4, clock_skew_s_max: 300 }
    }
}

/// When a delivery that failed is tried again, and when it is given up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The wait after the first failure, in seconds; it doubles with each further one.
    pub delay_s_first: u32,
    /// The longest wait, in seconds.
    pub delay_s_max: u32,
    /// After so many attempts the bundle is given up.
    pub attempts_max: u32,
    /// After so long in the queue the bundle is given up, in seconds.
    pub age_s_max: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { delay_s_first: 5, delay_s_max: 900, attempts_max: 50, age_s_max: 7 * 24 * 3600 }
    }
}

/// How long a recall is brought to a partner who does not answer, in seconds: longer than anything else waits.
pub const RECALL_AGE_S_MAX: i64 = 30 * 24 * 3600;

/// The most bundles that one withdrawal recalls, so that it always fits one write.
pub const RECALLS_PER_WITHDRAWAL_MAX: usize = 500;

/// Emergencies in which no consent can be asked for: off unless the institution switches it on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlass {
    /// Whether records may leave without a consent, with two other people's approval.
    pub enabled: bool,
    /// How long after the request they may leave, in seconds.
    pub box_s_max: u32,
}

impl Default for BreakGlass {
    fn default() -> Self {
        Self { enabled: false, box_s_max: 4 * 3600 }
    }
}

/// How partners are asked to sign under our checkpoints.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Witness {
    /// How often they are asked while the log grows, in seconds.
    pub every_s: u32,
    /// A log that grew and was countersigned by nobody for so long is an alarm, in seconds.
    pub alarm_s: u32,
    /// How long they are waited for at a start, before the gateway signs anything, in seconds.
    pub wait_s_max: u32,
}

impl Default for Witness {
    fn default() -> Self {
        Self { every_s: 60, alarm_s: 900, wait_s_max: 5 }
    }
}

/// A partner's log gets an entry of its own in ours at most this often, in seconds: or two idle gateways would feed each
/// other for ever.
pub const WITNESS_ENTRY_S_MIN: i64 = 3600;

/// The most requests for a countersignature from one partner in one minute.
pub const WITNESS_REQUESTS_PER_MINUTE_MAX: u32 = 120;

/// The most refused checkpoints that are kept as evidence of one partner.
pub const WITNESS_EVIDENCE_MAX: usize = 16;

/// Upper limits; past them the answer is a clear refusal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest sealed bundle, in bytes.
    pub bundle_bytes_max: u64,
    /// The most documents in one bundle.
    pub documents_max: u32,
    /// How much room the disk must keep free, in bytes.
    pub disk_free_bytes_min: u64,
    /// The longest question, reason or other free text, in bytes.
    pub text_bytes_max: u32,
    /// How much of a document that cannot be read by its head alone is searched for the patient, in bytes.
    pub survey_bytes_max: u64,
    /// The most bundles that wait at one time.
    pub queue_max: u32,
    /// How long a connection may stay without a byte, in seconds.
    pub idle_s_max: u32,
    /// How long one request may take, in seconds.
    pub request_s_max: u32,
    /// The most connections from partners at one time.
    pub connections_max: u32,
    /// The most connections from one partner at one time.
    pub connections_per_partner_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bundle_bytes_max: 1 << 40,
            documents_max: 100_000,
            disk_free_bytes_min: 1 << 30,
            text_bytes_max: 8192,
            survey_bytes_max: 256 << 20,
            queue_max: 10_000,
            idle_s_max: 30,
            request_s_max: 3600,
            connections_max: 256,
            connections_per_partner_max: 32,
        }
    }
}

/// The staff API takes no JSON body larger than this, in bytes.
pub const STAFF_BODY_BYTES_MAX: usize = 64 << 20;

/// Every decision reads all consents of the patient, and its entry names each of them: more would not fit.
pub const CONSENTS_PER_PATIENT_MAX: usize = 100;

/// A scan that is kept beside a consent is no larger than this, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 16 << 20;

/// All scans beside one consent are no larger than this together, in bytes; as base64 they fit into one request.
pub const EVIDENCE_TOTAL_BYTES_MAX: usize = 40 << 20;

/// The most scans beside one consent.
pub const EVIDENCE_COUNT_MAX: usize = 16;

/// The history of a bundle holds every attempt, and must fit into one record of the store.
const ATTEMPTS_MAX: u32 = 150;

/// An emergency is over after a day, or a consent can be asked for.
const BREAK_GLASS_S_MAX: u32 = 24 * 3600;

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML of this shape.
    #[error("{path} is not a configuration that medseal takes: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value is outside its range.
    #[error("{key} is {found:?}; allowed: {allowed}")]
    Range {
        /// The key, with its table.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A name is not one.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Config {
    /// The configuration of a new home, with every default written out.
    pub fn new(
        id: InstitutionId,
        name: &str,
        country: Country,
        endpoint: &str,
        listen: &str,
    ) -> Result<Self, ConfigError> {
        let timezone = jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned();
        let config = Self {
            id,
            name: name.to_owned(),
            country,
            endpoint: endpoint.to_owned(),
            listen: listen.to_owned(),
            timezone,
            intake: Intake::default(),
            exchange: Exchange::default(),
            retry: Retry::default(),
            staff: Staff::default(),
            break_glass: BreakGlass::default(),
            abdm: Abdm::default(),
            retention: Retention::default(),
            witness: Witness::default(),
            limits: Limits::default(),
        };
        config.check()?;
        Ok(config)
    }

    /// Reads and checks `medseal.toml`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check()?;
        Ok(config)
    }

    /// The host that partners dial, without the port.
    pub fn endpoint_host(&self) -> &str {
        split_endpoint(&self.endpoint).map_or("", |(host, _)| host)
    }

    /// The zone in which a date without a time begins and ends.
    pub fn zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.timezone).expect("check() found the zone when the configuration was read")
    }

    /// The text of `medseal.toml`, with every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is TOML")
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range =
            |key, found: &dyn ToString, allowed| Err(ConfigError::Range { key, found: found.to_string(), allowed });
        if self.name.trim().is_empty() || self.name.len() > 200 || self.name.chars().any(char::is_control) {
            return range("name", &self.name, "1 to 200 printable bytes");
        }
        if split_endpoint(&self.endpoint).is_none() {
            return range("endpoint", &self.endpoint, "https://HOST:PORT");
        }
        if self.listen.parse::<std::net::SocketAddr>().is_err() {
            return range("listen", &self.listen, "IP:PORT, such as 0.0.0.0:8443");
        }
        if jiff::tz::TimeZone::get(&self.timezone).is_err() {
            return range("timezone", &self.timezone, "an IANA name such as Asia/Kolkata");
        }
        if !["U", "L", "M", "N", "R", "V"].contains(&self.intake.assumed_confidentiality.as_str()) {
            return range("intake.assumed_confidentiality", &self.intake.assumed_confidentiality, "U, L, M, N, R or V");
        }
        self.abdm.check()?;
        if self.exchange.concurrent_per_partner == 0 || self.exchange.concurrent_per_partner > 64 {
            return range("exchange.concurrent_per_partner", &self.exchange.concurrent_per_partner, "1 to 64");
        }
        if self.retry.delay_s_first == 0 || self.retry.delay_s_first > self.retry.delay_s_max {
            return range("retry.delay_s_first", &self.retry.delay_s_first, "1 to retry.delay_s_max");
        }
        if self.retry.attempts_max == 0 || self.retry.attempts_max > ATTEMPTS_MAX {
            return range("retry.attempts_max", &self.retry.attempts_max, "1 to 150");
        }
        if self.break_glass.box_s_max == 0 || self.break_glass.box_s_max > BREAK_GLASS_S_MAX {
            return range("break_glass.box_s_max", &self.break_glass.box_s_max, "1 to 86400 seconds");
        }
        if self.witness.every_s == 0 || self.witness.alarm_s < self.witness.every_s || self.witness.wait_s_max > 60 {
            return range(
                "witness",
                &format!("{}, {}, {}", self.witness.every_s, self.witness.alarm_s, self.witness.wait_s_max),
                "every_s of 1 or more, alarm_s no less than it, wait_s_max of at most 60 seconds",
            );
        }
        self.staff.check()?;
        self.retention.check()?;
        if self.limits.documents_max == 0 || self.limits.bundle_bytes_max == 0 {
            return range("limits", &0, "documents_max and bundle_bytes_max of 1 or more");
        }
        Ok(())
    }
}

/// Splits `https://HOST:PORT` (the port may be left out: 443) into host and port.
pub fn split_endpoint(endpoint: &str) -> Option<(&str, u16)> {
    let authority = endpoint.strip_prefix("https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { 443 } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 443),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    (!host.is_empty() && host.chars().all(plain) && port != 0).then_some((host, port))
}

/// The folders and files of a home.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `path`, whether it exists or not.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("medseal.toml")
    }

    /// The key folder.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The subjects' keys, outside the store.
    pub fn subjects(&self) -> PathBuf {
        self.0.join("subjects")
    }

    /// The policy set.
    pub fn policies(&self) -> PathBuf {
        self.0.join("policies")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The newest signed checkpoint, outside the store.
    pub fn head(&self) -> PathBuf {
        self.0.join("head")
    }

    /// The sealed bundles.
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    /// What is known of the transfers that partners began.
    pub fn transfers(&self) -> PathBuf {
        self.0.join("transfers")
    }

    /// What we signed as a witness last, and what we refused; outside the store.
    pub fn witness(&self) -> PathBuf {
        self.0.join("witness")
    }

    /// The notes that a time stamp authority was asked about, and its answers.
    pub fn stamps(&self) -> PathBuf {
        self.head().join("stamps")
    }

    /// Whose countersignatures are enough under our log, if the site has said so.
    pub fn witness_policy(&self) -> PathBuf {
        self.0.join("witness-policy")
    }

    /// Our own signed card.
    pub fn card(&self) -> PathBuf {
        self.0.join("card")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        Config::new(
            "st-mary".parse().expect("an id"),
            "St Mary",
            "IN".parse().expect("a country"),
            "https://gateway.st-mary.example:8443",
            "127.0.0.1:8443",
        )
        .expect("a configuration")
    }

    #[test]
    fn an_endpoint_is_https_with_a_plain_host() {
        assert_eq!(split_endpoint("https://a.example:8443"), Some(("a.example", 8443)));
        assert_eq!(split_endpoint("https://a.example/"), Some(("a.example", 443)));
        assert_eq!(split_endpoint("https://[::1]:9"), Some(("::1", 9)));
        for bad in
            ["http://a.example", "https://", "https://a b", "https://a:0", "https://a/path", "a:1", "https://u@a"]
        {
            assert_eq!(split_endpoint(bad), None, "{bad} was accepted");
        }
    }

    #[test]
    fn what_is_written_reads_back_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("medseal.toml");
        let text = toml::to_string(&toml::Value::try_from(sample()).expect("toml")).expect("toml text");
        std::fs::File::create(&path)
            .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()))
            .expect("written");
        assert_eq!(Config::read(&path).expect("reads").id, sample().id);
        std::fs::File::create(&path)
            .and_then(|mut f| std::io::Write::write_all(&mut f, format!("surprise = 1\n{text}").as_bytes()))
            .expect("written");
        let error = Config::read(&path).expect_err("an unknown key");
        assert!(error.to_string().contains("surprise"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut config = sample();
        config.intake.assumed_confidentiality = "X".to_owned();
        assert!(config.check().expect_err("out of range").to_string().contains("intake.assumed_confidentiality"));
    }
}

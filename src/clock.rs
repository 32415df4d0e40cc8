//! Time: the only file that asks the operating system what time it is.
//!
//! Rule: everything else is handed a [`Clock`] or a [`Timestamp`], so that tests decide the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

pub use jiff::Timestamp;

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance_s`] moves it. Clones move together.
    pub fn set_to(start: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    /// The time now, in whole microseconds, which is what the log can hold.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        let microseconds = match &self.0 {
            Source::System => Timestamp::now().as_microsecond(),
            Source::Set(at) => at.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(microseconds).expect("a clock's microseconds are within jiff's range")
    }

    /// Moves a clock made by [`Clock::set_to`]; the system's clock does not move for anyone.
    pub fn advance_s(&self, seconds: i64) {
        if let Source::Set(at) = &self.0 {
            at.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }
}

/// A moment on the clock that nobody sets: how long ago it was stays true when the time of day is changed.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub fn age(self) -> Duration {
        self.0.elapsed()
    }
}

/// Writes a time as the log and the signed statements hold it: `2026-11-22T10:15:30.000000Z`.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads a time written by [`stamp`]; `None` for any other form of the same instant.
pub fn read_stamp(text: &str) -> Option<Timestamp> {
    let at: Timestamp = text.parse().ok()?;
    (stamp(at) == text).then_some(at)
}

/// A time in the one form of [`stamp`], as a field of something serialised.
pub mod stamped {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Timestamp, read_stamp, stamp};

    /// Writes the stamp.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&stamp(*at))
    }

    /// Reads a stamp, and no other form of the same instant.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        read_stamp(&text).ok_or_else(|| serde::de::Error::custom("not a time such as 2026-11-22T10:15:30.000000Z"))
    }
}

/// Like [`stamped`], where there may be none: the field is left out then.
pub mod stamped_if_any {
    use serde::{Deserializer, Serialize as _, Serializer};

    use super::{Timestamp, stamp, stamped};

    /// Writes the stamp.
    #[allow(clippy::ref_option, reason = "serde hands the field over like this")]
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(stamp).serialize(serializer)
    }

    /// Reads a stamp.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        stamped::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_one_form_only() {
        let at: Timestamp = "2026-11-22T10:15:30.5Z".parse().expect("a time");
        assert_eq!(stamp(at), "2026-11-22T10:15:30.500000Z");
        assert_eq!(read_stamp("2026-11-22T10:15:30.500000Z"), Some(at));
        assert_eq!(read_stamp("2026-11-22T10:15:30.5Z"), None);
        assert_eq!(read_stamp("2026-11-22T11:15:30.500000+01:00"), None);
    }

    #[test]
    fn a_set_clock_moves_only_when_told() {
        let clock = Clock::set_to("2026-11-22T10:00:00Z".parse().expect("a time"));
        let copy = clock.clone();
        clock.advance_s(90);
        assert_eq!(stamp(copy.now()), "2026-11-22T10:01:30.000000Z");
    }
}

//! The limits of the line, each with its unit and default; medseal.toml changes those that an operator may.
//!
//! Rule: whatever a partner can make grow, last or pile up stands here.

use std::time::Duration;

use crate::config;

/// The limits of the line between two gateways.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest sealed bundle taken, in bytes.
    pub sealed_bytes_max: u64,
    /// The largest age header, in bytes.
    pub header_bytes_max: u64,
    /// The largest segment taken, in bytes.
    pub segment_bytes_max: u64,
    /// How large a segment we send, in bytes.
    pub segment_bytes: u64,
    /// How many segments of one bundle we send at one time, each on a connection of its own.
    pub segments_in_flight: usize,
    /// The largest JSON body taken, in bytes: a dispatch, its signature and the header in base64.
    pub json_bytes_max: usize,
    /// The largest head of a request or an answer, in bytes.
    pub head_bytes_max: usize,
    /// The most header fields in one head.
    pub head_fields_max: usize,
    /// How long dialling may take, in seconds.
    pub connect_s_max: u64,
    /// How long the TLS handshake may take, in seconds.
    pub handshake_s_max: u64,
    /// How long a connection may stay without a byte, in seconds.
    pub idle_s_max: u64,
    /// How long one request may take to arrive, in seconds, however large it is.
    pub request_s_max: u64,
    /// The slowest that a body may arrive, in bytes per second; slower for longer than `idle_s_max` is closed.
    pub bytes_per_s_min: u64,
    /// The slowest that a receiver may verify what it holds before it answers a handover, in bytes per second.
    pub verify_bytes_per_s_min: u64,
    /// How long one connection may live, in seconds: past it the answer says that it closes.
    pub connection_s_max: u64,
    /// The most TLS handshakes at one time: whoever has no certificate gets no further than here.
    pub handshakes_max: usize,
    /// The most connections from partners at one time.
    pub connections_max: usize,
    /// The most connections from one partner at one time.
    pub connections_per_partner_max: usize,
    /// The most requests on one connection.
    pub requests_per_connection_max: u64,
    /// The most segments received at one time; each holds some two MiB.
    pub segments_max: usize,
    /// The most segments received at one time from one partner.
    pub segments_per_partner_max: usize,
    /// The most transfers that one partner may have open.
    pub transfers_per_partner_max: usize,
    /// The most separate pieces that one transfer may consist of.
    pub pieces_max: usize,
    /// How long an open transfer may rest before it is removed, in seconds.
    pub transfer_age_s_max: i64,
}

impl Limits {
    /// The limits as medseal.toml sets them.
    pub fn of(limits: &config::Limits) -> Self {
        Self {
            sealed_bytes_max: limits.bundle_bytes_max,
            idle_s_max: u64::from(limits.idle_s_max),
            request_s_max: u64::from(limits.request_s_max),
            connections_max: limits.connections_max as usize,
            connections_per_partner_max: limits.connections_per_partner_max as usize,
            ..Self::fixed()
        }
    }

    /// The same where so many bundles travel to one partner at one time: together they send no more segments than a
    /// partner takes, so that none of them is turned away for the sake of another.
    #[must_use]
    pub fn shared_by(mut self, bundles: u32) -> Self {
        let each = self.segments_per_partner_max / usize::try_from(bundles.max(1)).unwrap_or(usize::MAX);
        self.segments_in_flight = self.segments_in_flight.min(each).max(1);
        self
    }

    fn fixed() -> Self {
        Self {
            sealed_bytes_max: 1 << 40,
            header_bytes_max: 64 << 10,
            segment_bytes_max: 64 << 20,
            segment_bytes: 8 << 20,
            segments_in_flight: 4,
            json_bytes_max: 256 << 10,
            head_bytes_max: 16 << 10,
            head_fields_max: 32,
            connect_s_max: 10,
            handshake_s_max: 10,
            idle_s_max: 30,
            request_s_max: 3600,
            bytes_per_s_min: 16 << 10,
            verify_bytes_per_s_min: 16 << 20,
            connection_s_max: 3600,
            handshakes_max: 64,
            connections_max: 256,
            connections_per_partner_max: 32,
            requests_per_connection_max: 10_000,
            segments_max: 32,
            segments_per_partner_max: 16,
            transfers_per_partner_max: 256,
            pieces_max: 1024,
            transfer_age_s_max: 7 * 24 * 3600,
        }
    }

    /// How long a connection may stay without a byte.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s_max)
    }

    /// How long a body of so many bytes may take to arrive.
    pub fn arrival(&self, bytes: u64) -> Duration {
        let paced = self.idle_s_max.saturating_add(bytes / self.bytes_per_s_min.max(1));
        Duration::from_secs(paced.min(self.request_s_max))
    }

    /// How long to wait for the answer to a handover of so many sealed bytes, which are all read and hashed first.
    pub fn handover(&self, sealed_bytes: u64) -> Duration {
        let paced = self.idle_s_max.saturating_mul(2).saturating_add(sealed_bytes / self.verify_bytes_per_s_min.max(1));
        Duration::from_secs(paced)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&config::Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_gets_more_time_but_never_more_than_the_limit() {
        let limits = Limits::default();
        assert_eq!(limits.arrival(0), Duration::from_secs(30));
        assert_eq!(limits.arrival(8 << 20), Duration::from_secs(30 + 512));
        assert_eq!(limits.arrival(u64::MAX).as_secs(), limits.request_s_max);
    }

    #[test]
    fn bundles_that_travel_together_send_no_more_segments_than_a_partner_takes() {
        let limits = Limits::default();
        for bundles in 1..=64 {
            let each = limits.clone().shared_by(bundles).segments_in_flight;
            let together = each * bundles as usize;
            assert!(together <= limits.segments_per_partner_max.max(bundles as usize), "{bundles} bundles");
        }
        assert_eq!(limits.clone().shared_by(1).segments_in_flight, limits.segments_in_flight);
        assert_eq!(limits.clone().shared_by(64).segments_in_flight, 1);
    }

    #[test]
    fn a_handover_with_the_largest_header_and_statement_fits_its_body() {
        let limits = Limits::default();
        let header = usize::try_from(limits.header_bytes_max).expect("small") * 4 / 3;
        assert!(header + 2 * 64 * 1024 + 4096 <= limits.json_bytes_max);
    }
}

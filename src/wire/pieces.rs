//! Which bytes of a transfer are held: half-open ranges, sorted, never touching.
//!
//! Rule: pure arithmetic; a range gets in only after its bytes are durable.

use std::ops::Range;

/// Which bytes of a transfer are held.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pieces(Vec<Range<u64>>);

impl Pieces {
    /// Adds a range, joining it with those that it overlaps or touches.
    pub fn add(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let from = self.0.partition_point(|held| held.end < new.start);
        let until = self.0.partition_point(|held| held.start <= new.end);
        let joined = self.0[from..until].iter().fold(new, |all, held| all.start.min(held.start)..all.end.max(held.end));
        self.0.splice(from..until, [joined]);
    }

    /// The parts of `within` that are not held, in order.
    pub fn missing(&self, within: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = within.start;
        let from = self.0.partition_point(|held| held.end <= within.start);
        for held in self.0[from..].iter().take_while(|held| held.start < within.end) {
            if at < held.start {
                gaps.push(at..held.start);
            }
            at = held.end;
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }

    /// The first position from `start` on that is not held.
    pub fn first_missing(&self, start: u64) -> u64 {
        let after = self.0.partition_point(|held| held.end <= start);
        self.0.get(after).filter(|held| held.start <= start).map_or(start, |held| held.end)
    }

    /// Whether all of `range` is held.
    pub fn hold(&self, range: &Range<u64>) -> bool {
        self.first_missing(range.start) >= range.end
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|held| held.end - held.start).sum()
    }

    /// How many separate ranges there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The ranges as they stand in answers.
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|held| (held.start, held.end)).collect()
    }
}

impl FromIterator<Range<u64>> for Pieces {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut pieces = Self::default();
        ranges.into_iter().for_each(|range| pieces.add(range));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_join_and_gaps_stay() {
        let mut pieces = Pieces::default();
        pieces.add(10..20);
        pieces.add(30..40);
        pieces.add(5..5);
        assert_eq!(pieces.pairs(), [(10, 20), (30, 40)]);
        assert_eq!(pieces.missing(&(0..50)), [0..10, 20..30, 40..50]);
        assert_eq!(pieces.missing(&(12..18)), []);
        assert_eq!(pieces.missing(&(15..55)), [20..30, 40..55]);
        assert_eq!((pieces.first_missing(0), pieces.first_missing(10), pieces.first_missing(20)), (0, 20, 20));
        pieces.add(20..30);
        assert_eq!(pieces.pairs(), [(10, 40)]);
        assert!(pieces.hold(&(10..40)) && !pieces.hold(&(9..40)) && !pieces.hold(&(10..41)) && pieces.hold(&(50..50)));
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_what_was_added(
            ranges in proptest::collection::vec((0u64..64, 0u64..64), 0..24),
            window in (0u64..64, 0u64..64),
        ) {
            let mut plain = [false; 64];
            let mut pieces = Pieces::default();
            for (a, b) in ranges {
                let range = a.min(b)..a.max(b);
                range.clone().for_each(|at| plain[usize::try_from(at).expect("small")] = true);
                pieces.add(range);
            }
            let held = |at: u64| plain[usize::try_from(at).expect("small")];
            prop_assert_eq!(pieces.bytes(), plain.iter().filter(|held| **held).count() as u64);
            for pair in pieces.pairs().windows(2) {
                prop_assert!(pair[0].1 < pair[1].0);
            }
            let window = window.0.min(window.1)..window.0.max(window.1);
            let gaps: Vec<u64> = pieces.missing(&window).into_iter().flatten().collect();
            let expected: Vec<u64> = window.clone().filter(|at| !held(*at)).collect();
            prop_assert_eq!(&gaps, &expected);
            prop_assert_eq!(pieces.hold(&window), expected.is_empty());
            let first = (window.start..64).find(|at| !held(*at)).unwrap_or(64);
            prop_assert_eq!(pieces.first_missing(window.start), first);
        }
    }
}

//! What happens in one run: a list of steps, drawn from a seed.
//!
//! Rule: the same seed is the same list, on every machine.

/// Which of the two gateways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    Hospital,
    Institute,
}

/// Which way bytes go on the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// From the hospital: a request is lost when it is cut here.
    Requests,
    /// To the hospital: a response is lost when it is cut here.
    Responses,
}

/// What happens at a byte on the line, while the byte is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// The line breaks: the byte does not arrive, and nothing after it.
    Cut,
    /// The line breaks for the hospital. What it had sent arrives all the same, after so many bytes of later lines.
    Late(u32),
    /// The consent is withdrawn.
    Withdraw,
    /// One side dies.
    Crash(Who),
    /// The hospital suspends its partner.
    Suspend,
    /// A clock jumps, in seconds.
    Skew(Who, i32),
    /// The institute's card is replaced.
    RotateCard,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A bundle with a document of this size is handed in.
    Send(u32),
    /// The consent is withdrawn.
    Withdraw,
    /// Another consent comes on file.
    Consent,
    /// Whatever is due, or due first, is attempted, until every attempt has ended.
    Work,
    /// A bundle that was delivered is recalled by a person.
    Recall,
    /// Nobody reaches the institute.
    Partition,
    /// It is reached again.
    Heal,
    /// One side dies now.
    Crash(Who),
    /// One side dies at its n-th write from now: just before it is made, or just after.
    CrashAtWrite { who: Who, write: u32, made: bool },
    /// One side is started, if it does not run.
    Start(Who),
    /// Something happens at a byte of the line, counted from now.
    AtByte { way: Way, byte: u32, then: Then },
    /// A clock jumps, in seconds.
    Skew(Who, i32),
    /// The institute's card is replaced, and its certificate.
    RotateCard,
    /// The disk of one side is full.
    DiskFull(Who),
    /// There is room on it again.
    DiskFree(Who),
    /// The hospital suspends its partner.
    Suspend,
    /// It resumes it.
    Resume,
}

/// The steps of a seed.
pub(crate) fn steps(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut steps = vec![Step::Send(dice.size())];
    for _ in 0..dice.below(14) + 4 {
        let step = dice.step();
        steps.push(step);
        if matches!(step, Step::AtByte { then: Then::Late(_), .. }) {
            steps.push(Step::Work);
            if dice.below(2) == 0 {
                steps.push(Step::Withdraw);
            }
        }
        // What nobody attempts cannot go wrong.
        if dice.below(2) == 0 {
            steps.push(Step::Work);
        }
    }
    steps
}

/// Numbers from a seed: `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).expect("below a u32")
    }

    fn step(&mut self) -> Step {
        match self.below(40) {
            0..=6 => Step::Send(self.size()),
            7..=8 => Step::Withdraw,
            9 => Step::Consent,
            10 => Step::Recall,
            11..=12 => Step::Partition,
            13..=15 => Step::Heal,
            16..=17 => Step::Crash(self.who()),
            18..=20 => Step::CrashAtWrite { who: self.who(), write: self.below(6) + 1, made: self.below(2) == 0 },
            21..=24 => Step::Start(self.who()),
            25..=30 => self.at_byte(),
            // Mostly the handover: it is the end of what the hospital says.
            31..=32 => {
                let then = Then::Late(self.below(16_000));
                Step::AtByte { way: Way::Requests, byte: 14_000 + self.below(9_000), then }
            }
            33 => Step::Skew(self.who(), self.jump()),
            34 => Step::RotateCard,
            35 => Step::DiskFull(self.who()),
            36..=37 => Step::DiskFree(self.who()),
            38 => Step::Suspend,
            _ => Step::Resume,
        }
    }

    fn at_byte(&mut self) -> Step {
        let then = match self.below(10) {
            0..=4 => Then::Cut,
            5..=6 => Then::Withdraw,
            7 => Then::Crash(self.who()),
            8 => Then::Suspend,
            _ if self.below(2) == 0 => Then::RotateCard,
            _ => Then::Skew(self.who(), self.jump()),
        };
        let (way, bytes) = if self.below(2) == 0 { (Way::Requests, 24_000) } else { (Way::Responses, 7_000) };
        Step::AtByte { way, byte: self.below(bytes), then }
    }

    fn who(&mut self) -> Who {
        if self.below(2) == 0 { Who::Hospital } else { Who::Institute }
    }

    /// Mostly small: sealed, such a bundle has 13 KB, and its whole conversation 24 KB one way and 7 KB the other.
    fn size(&mut self) -> u32 {
        let most = if self.below(8) == 0 { 200_000 } else { 3_000 };
        self.below(most) + 1
    }

    /// Up to twice of what a partner's clock may be off.
    fn jump(&mut self) -> i32 {
        i32::try_from(self.below(1200)).expect("a small number") - 600
    }
}

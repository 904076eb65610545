//! Which steps of the rule decided something: for those who look whether each is ever taken.

/// A step of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Dropped: reported by less than so many percent of its observers.
    Share(u8),
    /// Dropped: it reports somebody itself, and too few report it.
    FewOfSpeaker,
    /// An observer that reports none of several did not count.
    Mute,
    /// Unclear: too few report it.
    Unclear,
    /// Unclear: it reports somebody itself, and not enough report it for that.
    UnclearSpeaker,
    /// Nothing is said before the mute speak.
    NotYet,
    /// Too few are left to claim anything.
    TooFew,
    /// A remainder after a time without a majority was held back.
    Caution,
}

/// A set of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(u32);

impl Steps {
    /// Whether that one was taken. A share counts as the whole ten percent above it.
    #[must_use]
    pub fn contains(self, step: Step) -> bool {
        self.0 & bit(step) != 0
    }

    /// That one was taken.
    pub fn note(&mut self, step: Step) {
        self.0 |= bit(step);
    }

    /// All of those were.
    pub fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }
}

fn bit(step: Step) -> u32 {
    let number = match step {
        Step::FewOfSpeaker => 0,
        Step::Mute => 1,
        Step::Unclear => 2,
        Step::UnclearSpeaker => 3,
        Step::NotYet => 4,
        Step::TooFew => 5,
        Step::Caution => 6,
        // 10 and up: a byte of percents needs no more than 26 bits, and what is above 100 % is no share.
        Step::Share(percent) => 10 + u32::from(percent.min(100).div_ceil(10)),
    };
    1 << number
}

//! Scenarios: a story that a cell lives through and what must hold in it, as text that a person reads.
//!
//! One statement a line; `#` begins a comment. The time of a fault counts from the moment at which the
//! cell has settled.
//!
//! ```text
//! title    one of a hundred crashes
//! nodes    100                      # 1 to 5000; above 1000 only where built with --cfg beyond_record
//! zones    3
//! network  latency 200us jitter 100us loss 1%
//! settle   3s
//! run      10s
//! at 0s        crash   some 1       # also: some 33%, any 33%, all, 3, 3-7, zone 2, same
//!                                   # (`any`: chosen anew each time; `same`: those of the fault before)
//! at 5s for 2s pause   4-6          # `for`: ends by itself
//! at 5s for 2s every 20s times 3 deaf some 1%
//! hold     all agree within 1200ms
//! reach    suspected
//! ```
//!
//! The rules of [`crate::sim::invariants`] hold in every scenario; `hold` adds what this one promises
//! ([`Promise`]). `reach` names states that a sweep must have come by at least once ([`State`]).

mod parse;
mod promise;
mod reach;
mod run;

use std::time::Duration;

use super::{Hostility, Settings};

pub use parse::{LINES_MAX, ParseError, parse};
pub use promise::Promise;
pub use reach::{Reached, State};
pub(super) use reach::{of_event, of_machine};
pub use run::{Outcome, run};

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it tells, in a line.
    pub title: String,
    /// Members, network and the like; the seed is the run's.
    pub settings: Settings,
    /// Time before the first fault.
    pub settle: Duration,
    /// Time from then on.
    pub run: Duration,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// What must hold.
    pub promises: Vec<Promise>,
    /// What a sweep must come by.
    pub reach: Vec<State>,
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Line of the file.
    pub line: usize,
    /// When it begins, from the moment at which the cell has settled.
    pub at: Duration,
    /// How long it lasts; none: until the end.
    pub lasts: Option<Duration>,
    /// How often it comes, and at which distance.
    pub repeat: (u32, Duration),
    /// What.
    pub trouble: Trouble,
    /// Whom.
    pub who: Who,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `crash`: the process ends without a word; with `for`, a new one starts then.
    Crash,
    /// `return`: a process starts again.
    Return,
    /// `replace`: the pod is deleted and another one starts at another address.
    Replace,
    /// `pause`: the process stands still.
    Pause,
    /// `leave`: it tells the others, and ends.
    Leave,
    /// `deaf`: nothing arrives.
    Deaf,
    /// `mute`: nothing leaves.
    Mute,
    /// `lose-in 80%`: so much of what arrives is lost.
    LoseIn(u32),
    /// `lose-out 80%`: so much of what leaves is lost.
    LoseOut(u32),
    /// `lose-both 10%`: both.
    LoseBoth(u32),
    /// `cut-off`: nothing passes between these and all others, the operator included. When it ends, all
    /// cuts end, and all losses of lines.
    CutOff,
    /// `slow 500%`: work takes that much of the usual time.
    Slow(u32),
    /// `clock-rate 200`: gains so many millionths.
    ClockRate(i32),
    /// `clock-step 500ms`: jumps ahead.
    ClockStep(Duration),
    /// `accuse`, `replay`, `old-incarnations`, `huge-frames`, `corrupted-frames`, `false-offers`, `false-hellos`,
    /// `false-counts`, `forged-maps`, `forged-addresses`, `asks`, `probes`: means harm.
    Turn(Hostility),
    /// `false-reports 2%`: of all edges; says nothing of whom.
    FalseReports(u32),
    /// `operator-down`: says nothing of whom.
    OperatorDown,
}

impl Trouble {
    /// Whether it can end by itself, as `for` says.
    #[must_use]
    pub fn ends(self) -> bool {
        !matches!(
            self,
            Self::Return
                | Self::Replace
                | Self::Leave
                | Self::ClockStep(_)
                | Self::Turn(_)
                | Self::FalseReports(_)
        )
    }
}

/// Whom it befalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody in particular.
    Nobody,
    /// All.
    All,
    /// So many, chosen by the seed.
    Some(u16),
    /// Such a share, rounded down, at least one, chosen by the seed.
    Share(u16),
    /// The same share, chosen anew each time that the fault comes.
    Any(u16),
    /// From one number to another.
    Range(u16, u16),
    /// Those of a zone.
    Zone(u16),
    /// Those of the fault before.
    Same,
}

#[cfg(test)]
mod tests;

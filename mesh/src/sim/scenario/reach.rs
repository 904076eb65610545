//! States that a sweep should come by: a scenario that never got where it wants to look proves nothing.

use std::collections::BTreeSet;

use crate::machine::Event;
use crate::member::Mesh;
use crate::sim::Simulation;

/// Such a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// `suspected`: a report.
    Suspected,
    /// `refuted`: a report was taken back, because its subject was heard again.
    Refuted,
    /// `verdict`: somebody was found failed.
    Verdict,
    /// `withdrawn`: a verdict no longer held.
    Withdrawn,
    /// `peeled`: a report in force that makes no verdict, four times a second.
    Peeled,
    /// `self-doubt`: a member that hears nobody.
    SelfDoubt,
    /// `deposed`: a member that learnt that it was removed.
    Deposed,
    /// `left`: a member that said good-bye.
    Left,
    /// `repaired`: a summary of evidence was sent, because a digest differed.
    Repaired,
    /// `refused`: something from a peer was refused.
    Refused,
    /// `paused`: a process that noticed that it had stood still.
    Paused,
    /// `queue-full`: a message that found no room.
    QueueFull,
    /// `line-full`: a packet that found a line's queue full.
    LineFull,
    /// `admitted`: somebody joined.
    Admitted,
    /// `frozen`: a map that lists failed members.
    Frozen,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Suspected,
        Self::Refuted,
        Self::Verdict,
        Self::Withdrawn,
        Self::Peeled,
        Self::SelfDoubt,
        Self::Deposed,
        Self::Left,
        Self::Repaired,
        Self::Refused,
        Self::Paused,
        Self::QueueFull,
        Self::LineFull,
        Self::Admitted,
        Self::Frozen,
    ];

    /// Its name in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Refuted => "refuted",
            Self::Verdict => "verdict",
            Self::Withdrawn => "withdrawn",
            Self::Peeled => "peeled",
            Self::SelfDoubt => "self-doubt",
            Self::Deposed => "deposed",
            Self::Left => "left",
            Self::Repaired => "repaired",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::QueueFull => "queue-full",
            Self::LineFull => "line-full",
            Self::Admitted => "admitted",
            Self::Frozen => "frozen",
        }
    }

    /// By its name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The states that a run came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached(pub BTreeSet<State>);

/// What one machine came by, as far as it can tell now.
pub(in crate::sim) fn of_machine(mesh: &Mesh) -> impl Iterator<Item = State> {
    let counters = mesh.counters();
    let counted = [
        (State::Repaired, counters.summaries_sent > 0),
        (State::Refused, !counters.refused.is_empty()),
        (State::Paused, counters.pauses > 0),
        (State::Peeled, mesh.has_degraded_links()),
    ];
    let came = counted.into_iter().filter(|(_, came)| *came);
    came.map(|(state, _)| state)
}

impl Reached {
    /// What a run came by.
    #[must_use]
    pub fn by(simulation: &Simulation) -> Self {
        let mut states = BTreeSet::new();
        for record in simulation.events() {
            states.extend(match &record.event {
                Event::Suspected { .. } => Some(State::Suspected),
                Event::Cleared { .. } => Some(State::Refuted),
                Event::Verdict { .. } => Some(State::Verdict),
                Event::VerdictWithdrawn { .. } => Some(State::Withdrawn),
                Event::SelfDoubt { on: true } => Some(State::SelfDoubt),
                Event::Deposed { .. } => Some(State::Deposed),
                Event::Leaving { .. } => Some(State::Left),
                _ => None,
            });
        }
        for node in simulation.node_ids() {
            if simulation.traffic(node).dropped > 0 {
                states.insert(State::LineFull);
            }
            if let Some(mesh) = simulation.mesh(node) {
                states.extend(of_machine(mesh));
            }
        }
        states.extend(simulation.passed_states().iter().copied());
        if simulation.queue_full() > 0 {
            states.insert(State::QueueFull);
        }
        let changes = simulation.map_changes();
        if changes.iter().any(|change| !change.admitted.is_empty()) {
            states.insert(State::Admitted);
        }
        if simulation.record().map().members.iter().any(|m| m.failed) {
            states.insert(State::Frozen);
        }
        Self(states)
    }
}

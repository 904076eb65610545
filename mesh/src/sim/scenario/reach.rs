//! States that a sweep should come by: a scenario that never got where it wants to look proves nothing.

use std::collections::BTreeSet;

use crate::limits;
use crate::machine::Event;
use crate::map::Map;
use crate::member::Mesh;
use crate::sim::Simulation;
use crate::verdict::Step;

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
    /// `peeled-10` to `peeled-70`, `few-of-speaker`, `mute-observers`, `unclear`, `unclear-speaker`, `not-yet`, `too-few`,
    /// `caution`: a step of the verdict's rule decided something.
    Step(Step),
    /// `by-voters`: exactly half of a cell was found failed.
    ByVoters,
    /// `by-operator`: one of two was.
    ByOperator,
    /// `self-doubt`: a member that takes itself for the sick one.
    SelfDoubt,
    /// `deaf`: a member that found out that it hears nobody.
    Deaf,
    /// `deposed`: a member that learnt that it was removed.
    Deposed,
    /// `left`: a member that said good-bye.
    Left,
    /// `repaired`: a summary of evidence was sent, because a digest differed.
    Repaired,
    /// `refused-CAUSE`: something from a peer was refused for that cause, named as in metrics.
    Refused(&'static str),
    /// `paused`: a process that noticed that it had stood still.
    Paused,
    /// `queue-full`: a frame that found no room among those that wait for its peer.
    QueueFull,
    /// `line-out-full`: a packet that found no room on its way out.
    LineOutFull,
    /// `line-in-full`: a packet that found no room where it arrived.
    LineInFull,
    /// `backlog-full`: something that arrived at a processor which had too much to do.
    BacklogFull,
    /// `inbox-full`: something that arrived at a process which stood still for long.
    InboxFull,
    /// `strangers-full`: as many peers that the map does not list as a member bears.
    StrangersFull,
    /// `wanted-full`: the statements of all members, that is all that there are, were asked for at once.
    WantedFull,
    /// `admitted`: somebody joined.
    Admitted,
    /// `frozen`: a map that lists failed members.
    Frozen,
}

/// All of them, with their names in a file.
const NAMED: &[(State, &str)] = &[
    (State::Suspected, "suspected"),
    (State::Refuted, "refuted"),
    (State::Verdict, "verdict"),
    (State::Withdrawn, "withdrawn"),
    (State::Peeled, "peeled"),
    (State::Step(Step::Share(10)), "peeled-10"),
    (State::Step(Step::Share(20)), "peeled-20"),
    (State::Step(Step::Share(30)), "peeled-30"),
    (State::Step(Step::Share(40)), "peeled-40"),
    (State::Step(Step::Share(50)), "peeled-50"),
    (State::Step(Step::Share(60)), "peeled-60"),
    (State::Step(Step::Share(70)), "peeled-70"),
    (State::Step(Step::FewOfSpeaker), "few-of-speaker"),
    (State::Step(Step::Mute), "mute-observers"),
    (State::Step(Step::Unclear), "unclear"),
    (State::Step(Step::UnclearSpeaker), "unclear-speaker"),
    (State::Step(Step::NotYet), "not-yet"),
    (State::Step(Step::TooFew), "too-few"),
    (State::Step(Step::Caution), "caution"),
    (State::ByVoters, "by-voters"),
    (State::ByOperator, "by-operator"),
    (State::SelfDoubt, "self-doubt"),
    (State::Deaf, "deaf"),
    (State::Deposed, "deposed"),
    (State::Left, "left"),
    (State::Repaired, "repaired"),
    (State::Paused, "paused"),
    (State::QueueFull, "queue-full"),
    (State::LineOutFull, "line-out-full"),
    (State::LineInFull, "line-in-full"),
    (State::BacklogFull, "backlog-full"),
    (State::InboxFull, "inbox-full"),
    (State::StrangersFull, "strangers-full"),
    (State::WantedFull, "wanted-full"),
    (State::Admitted, "admitted"),
    (State::Frozen, "frozen"),
];

/// What hostile members are refused for; a few of them the honest too, now and then.
const CAUSES: &[&str] = &[
    "WireLength",
    "WireKind",
    "WireMalformed",
    "EvidenceBadSignature",
    "EvidenceUnknownSigner",
    "EvidenceBudget",
    "StatementsAskedTooOften",
    "MapRequestAgain",
    "MalformedMap",
    "NotNewer",
    "BadMapSignature",
    "BadJoinAddress",
    "AppliedBeyondMembers",
    "AppliedUnknownMap",
    "ConnectionLimit",
];

/// What comes before the cause.
const REFUSED: &str = "refused-";

impl State {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = NAMED.iter().map(|(state, _)| *state);
        named.chain(CAUSES.iter().map(|cause| Self::Refused(cause)))
    }

    /// Its name in a file.
    #[must_use]
    pub fn name(self) -> String {
        if let Self::Refused(cause) = self {
            return format!("{REFUSED}{cause}");
        }
        let named = NAMED.iter().find(|(state, _)| *state == self);
        named.map_or_else(|| format!("{self:?}"), |(_, name)| (*name).to_owned())
    }

    /// By its name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        if let Some(cause) = name.strip_prefix(REFUSED) {
            let known = CAUSES.iter().find(|known| **known == cause);
            return known.map(|cause| Self::Refused(cause));
        }
        let named = NAMED.iter().find(|(_, known)| *known == name);
        named.map(|(state, _)| *state)
    }
}

/// The states that a run came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached(pub BTreeSet<State>);

/// What one machine came by, as far as it can tell now.
pub(in crate::sim) fn of_machine(mesh: &Mesh) -> impl Iterator<Item = State> {
    let counters = mesh.counters();
    let counted = [
        (State::Repaired, counters.repairs > 0),
        (State::Deaf, counters.deafnesses > 0),
        (State::Paused, counters.pauses > 0),
        (State::Peeled, mesh.has_degraded_links()),
    ];
    let came = counted.into_iter().filter(|(_, came)| *came);
    let steps = NAMED.iter().map(|(state, _)| *state);
    let steps = steps.filter(
        |state| matches!(state, State::Step(step) if mesh.counters().steps.contains(*step)),
    );
    let refused = counters.refused.keys().map(|cause| State::Refused(cause));
    came.map(|(state, _)| state).chain(steps).chain(refused)
}

/// What an event tells of whoever has that map.
pub(in crate::sim) fn of_event(event: &Event, map: Option<&Map>) -> impl Iterator<Item = State> {
    let (state, more) = match event {
        Event::Suspected { .. } => (State::Suspected, None),
        Event::Cleared { .. } => (State::Refuted, None),
        Event::Verdict { failed, .. } => (State::Verdict, of_half(failed.len(), map)),
        Event::VerdictWithdrawn { .. } => (State::Withdrawn, None),
        Event::SelfDoubt { on: true } => (State::SelfDoubt, None),
        Event::Deposed { .. } => (State::Deposed, None),
        Event::Leaving { .. } => (State::Left, None),
        _ => return None.into_iter().chain(None),
    };
    Some(state).into_iter().chain(more)
}

/// Who decided, where exactly half of a cell was found failed.
fn of_half(failed: usize, map: Option<&Map>) -> Option<State> {
    let active = map?.active().count();
    let state = if active == 2 {
        State::ByOperator
    } else {
        State::ByVoters
    };
    (failed * 2 == active).then_some(state)
}

impl Reached {
    /// What a run came by.
    #[must_use]
    pub fn by(simulation: &Simulation) -> Self {
        let mut states = simulation.passed_states().clone();
        for node in simulation.node_ids() {
            let traffic = simulation.traffic(node);
            if traffic.dropped > traffic.dropped_in {
                states.insert(State::LineOutFull);
            }
            if traffic.dropped_in > 0 {
                states.insert(State::LineInFull);
            }
            if let Some(mesh) = simulation.mesh(node) {
                states.extend(of_machine(mesh));
            }
        }
        if let Some(watch) = simulation.watch() {
            let causes = watch.counters().refused.keys();
            states.extend(causes.map(|cause| State::Refused(cause)));
        }
        if simulation.queue_full() > 0 {
            states.insert(State::QueueFull);
        }
        let largest = simulation.invariants().queues.largest();
        if largest.is_some_and(|loads| loads.strangers >= limits::STRANGERS_MAX) {
            states.insert(State::StrangersFull);
        }
        let members = simulation.node_ids().count();
        if largest.is_some_and(|loads| loads.wanted + 1 >= members.min(limits::WANTED_MAX)) {
            states.insert(State::WantedFull);
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

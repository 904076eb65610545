//! What the agent knows, published for readers: look-ups never wait for the mesh.

mod partings;
mod published;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slotmesh_mesh::evidence::Edge;
use slotmesh_mesh::identity::{MemberId, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::member::MemberHealth;
use slotmesh_mesh::signed::SignedMap;

pub(crate) use partings::Partings;
pub(crate) use published::{News, Shared};

/// The state at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The signed map of [`Self::signed`], at hand.
    pub(crate) map: Arc<Map>,
    pub(crate) signed: SignedMap,
    pub(crate) me: MemberId,
    pub(crate) standing: Standing,
    /// When the map was last known to be in force.
    pub(crate) confirmed_at: Instant,
    pub(crate) health: Vec<MemberHealth>,
    pub(crate) degraded: Degraded,
    pub(crate) departed: VecDeque<Departed>,
}

/// Links that do not work, though nobody at their ends was found failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Degraded {
    /// How many.
    pub(crate) count: usize,
    /// (observer, subject), not more than [`DEGRADED_LINKS_MAX`].
    pub(crate) links: Vec<Edge>,
}

/// Degraded links that a snapshot names.
const DEGRADED_LINKS_MAX: usize = 256;

impl Degraded {
    pub(crate) fn of(mut links: Vec<Edge>) -> Self {
        let count = links.len();
        links.truncate(DEGRADED_LINKS_MAX);
        Self { count, links }
    }
}

/// How far this agent's answers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A member that hears others: the map is in force.
    Member,
    /// A member that hears nobody: the map may be outdated.
    Alone,
    /// A member that saw two different maps of one epoch: it applies no newer one, so its map falls
    /// behind until the agent is restarted.
    Conflict,
    /// No member any more: the map is the last one it had.
    Former,
    /// Not a member yet: the map is the last one of the process before, kept on disk.
    Kept,
}

impl Standing {
    /// Whether answers may be outdated.
    pub(crate) fn is_stale(self) -> bool {
        self != Self::Member
    }
}

/// A member that is none any more.
#[derive(Clone, Debug)]
pub(crate) struct Departed {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    pub(crate) reason: &'static str,
    pub(crate) at_unix_ms: u64,
}

impl Snapshot {
    /// What a process before this one knew.
    pub(crate) fn kept(signed: SignedMap, pod: Uid, age: Duration) -> Self {
        let map = signed.map().clone();
        let nobody = MemberId {
            uid: pod,
            incarnation: 0,
        };
        let me = map.member(pod).map_or(nobody, |member| member.id());
        let now = Instant::now();
        Self {
            map,
            signed,
            me,
            standing: Standing::Kept,
            // A clock that starts with the machine may not reach back that far.
            confirmed_at: now.checked_sub(age).unwrap_or(now),
            health: Vec::new(),
            degraded: Degraded::default(),
            departed: VecDeque::new(),
        }
    }

    /// The same with another standing.
    pub(crate) fn with_standing(&self, standing: Standing) -> Self {
        Self {
            standing,
            ..self.clone()
        }
    }

    /// Remembers whom the map before listed and this one does not.
    pub(crate) fn remember(&mut self, previous: &Self, partings: &Partings) {
        self.departed.clone_from(&previous.departed);
        // How the members of a kept map ended is not known; those of a cell that was split live on in
        // another.
        let same_cell = previous.map.cell == self.map.cell;
        if previous.standing != Standing::Kept && same_cell {
            for gone in previous.map.members.iter() {
                if !self.map.lists(gone.id()) {
                    self.departed.push_front(Departed {
                        id: gone.id(),
                        name: gone.name.clone(),
                        reason: partings.reason(gone.id()),
                        at_unix_ms: unix_ms(),
                    });
                }
            }
        }
        self.departed.truncate(limits::DEPARTED_MAX);
    }

    /// For how long the map may have been outdated; none while it is in force.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        let stale = self.standing.is_stale();
        stale.then(|| self.confirmed_at.elapsed())
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

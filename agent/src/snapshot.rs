//! What the agent knows, published for readers: look-ups never wait for the mesh.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use slotmesh_mesh::identity::MemberId;
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::member::MemberHealth;

/// The state at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) map: Arc<Map>,
    pub(crate) me: MemberId,
    pub(crate) standing: Standing,
    pub(crate) health: Vec<MemberHealth>,
    pub(crate) departed: VecDeque<Departed>,
}

/// How far this agent's answers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A member that hears others: the map is in force.
    Member,
    /// A member that hears nobody: the map may be outdated.
    Alone,
    /// No member any more: the map is the last one it had.
    Former,
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

/// Where the snapshot is published.
pub(crate) type Shared = Arc<ArcSwapOption<Snapshot>>;

impl Snapshot {
    /// The next snapshot: whoever is no longer listed has departed.
    pub(crate) fn next(
        previous: Option<&Self>,
        map: Arc<Map>,
        me: MemberId,
        standing: Standing,
        health: Vec<MemberHealth>,
        partings: &Partings,
    ) -> Self {
        let mut departed = previous
            .map(|previous| previous.departed.clone())
            .unwrap_or_default();
        if let Some(previous) = previous {
            for gone in previous
                .map
                .members
                .iter()
                .filter(|member| !map.lists(member.id()))
            {
                let reason = partings.reason(gone.id());
                let name = gone.name.clone();
                departed.push_front(Departed {
                    id: gone.id(),
                    name,
                    reason,
                    at_unix_ms: unix_ms(),
                });
            }
        }
        departed.truncate(limits::DEPARTED_MAX);
        Self {
            map,
            me,
            standing,
            health,
            departed,
        }
    }
}

/// Why members that are still listed will be gone, as far as the mesh said. A map can follow on the
/// heels of what it is made from, so this is told by events, in their order, and not by comparing
/// snapshots.
#[derive(Debug, Default)]
pub(crate) struct Partings(BTreeMap<MemberId, &'static str>);

impl Partings {
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::Leaving { member } => {
                self.0.insert(*member, "Left");
            }
            Event::Verdict { failed, .. } => {
                self.withdraw();
                for member in failed {
                    self.0.entry(*member).or_insert("Failed");
                }
            }
            Event::VerdictWithdrawn { .. } => self.withdraw(),
            _ => {}
        }
    }

    fn withdraw(&mut self) {
        self.0.retain(|_, reason| *reason != "Failed");
    }

    fn reason(&self, member: MemberId) -> &'static str {
        self.0.get(&member).copied().unwrap_or("Removed")
    }

    /// Others have departed by now.
    pub(crate) fn retain_for(&mut self, map: &Map) {
        self.0.retain(|member, _| map.lists(*member));
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

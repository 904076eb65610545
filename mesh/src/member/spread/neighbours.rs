//! Which of a member's neighbours in the graph are in its zone. Traffic between zones is slow and costs
//! money, so a map is announced within the zone.
//!
//! A member that has few neighbours in its zone might hear of nothing there: it is also told from outside,
//! and waits a little before it asks there. One without any asks at once. Where zones are unknown, all
//! members are in the same one.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::identity::Uid;
use crate::limits;
use crate::map::Map;

#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    /// In our zone: subjects first.
    near: Vec<Uid>,
    /// In other zones, with few neighbours in theirs.
    lonely: Vec<Uid>,
    /// In other zones.
    far: Vec<Uid>,
}

impl Neighbours {
    pub(crate) fn of(map: &Map, graph: &Graph, me: Uid) -> Self {
        let zone = |uid: &Uid| graph.member(map, *uid).map(|member| member.zone.as_str());
        let mine = zone(&me);
        let all = each_once(graph, me);
        let (near, far): (Vec<Uid>, Vec<Uid>) = all.into_iter().partition(|uid| zone(uid) == mine);
        let is_lonely = |uid: &Uid| {
            let own = zone(uid);
            let around = each_once(graph, *uid);
            around.iter().filter(|other| zone(other) == own).count() < limits::LONELY_BELOW
        };
        Self {
            lonely: far.iter().copied().filter(is_lonely).collect(),
            near,
            far,
        }
    }

    /// Whom to tell of a new map.
    pub(crate) fn to_tell(&self) -> impl Iterator<Item = Uid> + '_ {
        let (first, others) = if self.near.is_empty() {
            (&self.far, &[][..])
        } else {
            (&self.near, self.lonely.as_slice())
        };
        let first = first.iter().take(limits::ANNOUNCED_MAX);
        first.chain(others).copied()
    }

    /// Whether to ask that peer at once.
    pub(crate) fn is_near(&self, uid: Uid) -> bool {
        self.near.is_empty() || self.near.contains(&uid)
    }
}

/// Subjects, then observers.
fn each_once(graph: &Graph, uid: Uid) -> Vec<Uid> {
    let mut seen = BTreeSet::new();
    let (subjects, observers) = (graph.subjects(uid), graph.observers(uid));
    let all = subjects.iter().chain(observers).copied();
    all.filter(|uid| seen.insert(*uid)).collect()
}

#[cfg(test)]
mod tests;

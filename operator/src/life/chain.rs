//! Owners that die one after another, each soon after it took over the same slots: something in those
//! slots may kill them (a poisonous key, a load that nobody bears), and whoever is given them is next.
//!
//! ```text
//!   owner dies ──▶ fail-over ──▶ dies within CHAIN_WINDOW ──▶ fail-over ──▶ dies within it: no more
//!      1                                   2                                       3
//! ```
//!
//! A link of the chain is taken out when its victim is a member again (it died, and not for good), and
//! slots leave the chain when they move by plan or to an heir on the same node: their new owner did not
//! get them because somebody died. So members that are killed at random and return never make a chain
//! of three, however often that happens.

use std::time::Duration;

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::{Map, Member};
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::time::Instant;

/// A death counts against slots that the dead took over no longer ago than that.
pub const CHAIN_WINDOW: Duration = Duration::from_secs(30);
/// The death at which nothing is re-homed any more.
pub const CHAIN_DEATHS: usize = 3;
/// Links remembered; the oldest are forgotten beyond it (each lives for the window at most).
pub const LINKS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Victim {
    uid: Uid,
    name: String,
}

/// Slots whose owners died, in the order of their deaths.
#[derive(Clone, Debug)]
struct Link {
    slots: SlotSet,
    victims: Vec<Victim>,
    taken_over: Instant,
}

/// Fail-overs of the last while.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// A map was recorded: `is_dead` tells of members of the one before.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        before: &Map,
        after: &Map,
        is_dead: impl Fn(&Member) -> bool,
    ) {
        self.forget(now);
        for link in &mut self.links {
            link.victims
                .retain(|victim| after.member(victim.uid).is_none_or(|member| member.failed));
        }
        let mut fresh = Vec::new();
        for member in &before.members {
            let kept = after
                .members
                .iter()
                .filter(|later| later.node == member.node);
            let kept = kept.fold(SlotSet::empty(), |kept, later| kept.union(&later.slots()));
            let lost = member.slots().difference(&kept);
            let died = is_dead(member) && after.member(member.uid).is_none();
            if lost.is_empty() && !died {
                continue;
            }
            if died {
                fresh.extend(self.lengthen(now, member, &lost));
            }
            self.release(&if died { member.slots() } else { lost });
        }
        self.links.extend(fresh);
        self.links
            .retain(|link| !link.slots.is_empty() && !link.victims.is_empty());
        let too_many = self.links.len().saturating_sub(LINKS_MAX);
        self.links.drain(..too_many);
    }

    /// The victims, when one of these deaths is the third for some slot.
    pub(super) fn third_death(
        &self,
        now: Instant,
        dead: Vec<&Member>,
    ) -> Option<Vec<(Uid, String)>> {
        for member in dead {
            let slots = member.slots();
            let last_but_one = |link: &&Link| {
                link.victims.len() + 1 >= CHAIN_DEATHS
                    && now.saturating_since(link.taken_over) <= CHAIN_WINDOW
                    && !link.slots.intersection(&slots).is_empty()
            };
            if let Some(link) = self.links.iter().find(last_but_one) {
                let victims = link.victims.iter();
                let victims = victims.map(|victim| (victim.uid, victim.name.clone()));
                return Some(victims.chain([(member.uid, member.name.clone())]).collect());
            }
        }
        None
    }

    /// Links of which this death is the end.
    fn lengthen(&self, now: Instant, dead: &Member, slots: &SlotSet) -> Vec<Link> {
        let victim = Victim {
            uid: dead.uid,
            name: dead.name.clone(),
        };
        let mut first_deaths = slots.clone();
        let mut links = Vec::new();
        for link in &self.links {
            let part = link.slots.intersection(slots);
            if part.is_empty() {
                continue;
            }
            first_deaths.remove(&part);
            let mut victims = link.victims.clone();
            victims.push(victim.clone());
            links.push(Link {
                slots: part,
                victims,
                taken_over: now,
            });
        }
        links.push(Link {
            slots: first_deaths,
            victims: vec![victim],
            taken_over: now,
        });
        links
    }

    fn release(&mut self, slots: &SlotSet) {
        for link in &mut self.links {
            link.slots.remove(slots);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.links
            .retain(|link| now.saturating_since(link.taken_over) <= CHAIN_WINDOW);
    }
}

#[cfg(test)]
mod tests;

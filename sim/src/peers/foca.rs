//! The crate `foca` (SWIM with the names and times of memberlist, but without Lifeguard), as it is, with its
//! `Config::new_lan`. What is here is its shell: identities, timers, and what it says.
//!
//! All know each other from the start; they start within a second, so that their rounds differ.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use foca::{
    Config, Identity, Member, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer,
};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

use super::protocol::{Output, Protocol, Way};

/// Members start within that time.
const START_SPREAD: Duration = Duration::from_secs(1);
/// Timers at once: foca plans a few for each member.
const TIMERS_MAX: usize = 1 << 16;

type Out = Vec<Output<Vec<u8>>>;

/// Who a member is; it takes the next generation when it was declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    node: u16,
    generation: u32,
}

impl Identity for Name {
    type Addr = u16;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            node: self.node,
            generation: self.generation.wrapping_add(1),
        })
    }

    fn addr(&self) -> u16 {
        self.node
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.generation > other.generation
    }
}

/// A member.
pub struct Foca {
    own: NodeId,
    members: u16,
    start: Option<Instant>,
    spread: Duration,
    machine: foca::Foca<Name, PostcardCodec, Pcg64Mcg, NoCustomBroadcast>,
    timers: Timers,
    refused: u64,
}

impl std::fmt::Debug for Foca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foca")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Timers {
    waiting: BTreeMap<(Instant, u64), Timer<Name>>,
    sequence: u64,
}

/// What it wants while it handles one input.
struct Wants<'a> {
    now: Instant,
    timers: &'a mut Timers,
    out: &'a mut Out,
}

impl Runtime<Name> for Wants<'_> {
    fn notify(&mut self, notification: Notification<'_, Name>) {
        match notification {
            Notification::MemberDown(name) => self.out.push(Output::Dead(NodeId(name.node))),
            Notification::MemberUp(name) => self.out.push(Output::Alive(NodeId(name.node))),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Name, data: &[u8]) {
        self.out.push(Output::Send {
            to: NodeId(to.node),
            way: Way::Datagram,
            bytes: data.len(),
            message: data.to_vec(),
        });
    }

    fn submit_after(&mut self, event: Timer<Name>, after: Duration) {
        if self.timers.waiting.len() < TIMERS_MAX {
            self.timers.sequence += 1;
            let key = (self.now + after, self.timers.sequence);
            self.timers.waiting.insert(key, event);
        }
    }
}

impl Foca {
    /// The member on a node, of so many.
    pub fn new(own: NodeId, members: u16, mut rng: Pcg64Mcg) -> Self {
        let size = NonZeroU32::new(u32::from(members)).unwrap_or(NonZeroU32::MIN);
        let spread = u64::try_from(START_SPREAD.as_micros()).unwrap_or(u64::MAX);
        let spread = Duration::from_micros(rng.random_range(0..spread));
        Self {
            own,
            members,
            start: None,
            spread,
            machine: foca::Foca::new(name(own.0), Config::new_lan(size), rng, PostcardCodec),
            timers: Timers::default(),
            refused: 0,
        }
    }

    /// Inputs that it answered with an error.
    #[cfg(test)]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// It learns of all others.
    fn begin(&mut self, now: Instant, out: &mut Out) {
        let own = self.own.0;
        let others = (1..=self.members).filter(|node| *node != own);
        let others = others.map(|node| Member::alive(name(node)));
        let timers = &mut self.timers;
        let mut told = Vec::new();
        let wants = Wants {
            now,
            timers,
            out: &mut told,
        };
        let result = self.machine.apply_many(others, false, wants);
        self.refused += u64::from(result.is_err());
        // That they are there is no news.
        out.extend(told.into_iter().filter(|o| !matches!(o, Output::Alive(_))));
    }
}

impl Protocol for Foca {
    type Message = Vec<u8>;

    fn start(&mut self, now: Instant, _: &mut Out) {
        self.start = Some(now + self.spread);
    }

    fn on_message(&mut self, now: Instant, _: NodeId, message: Vec<u8>, out: &mut Out) {
        if self.start.take().is_some() {
            self.begin(now, out);
        }
        let timers = &mut self.timers;
        let wants = Wants { now, timers, out };
        let result = self.machine.handle_data(&message, wants);
        self.refused += u64::from(result.is_err());
    }

    fn on_timer(&mut self, now: Instant, out: &mut Out) {
        if self.start.take_if(|at| *at <= now).is_some() {
            self.begin(now, out);
        }
        while let Some(first) = self.timers.waiting.first_entry() {
            if first.key().0 > now {
                return;
            }
            let timer = first.remove();
            let timers = &mut self.timers;
            let wants = Wants { now, timers, out };
            let result = self.machine.handle_timer(timer, wants);
            self.refused += u64::from(result.is_err());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.waiting.keys().next().map(|(at, _)| *at);
        self.start.into_iter().chain(timer).min()
    }
}

fn name(node: u16) -> Name {
    let generation = 0;
    Name { node, generation }
}

#[cfg(test)]
mod tests;

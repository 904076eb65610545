//! Members with a valid certificate and bad intentions. What they send is well formed where that does most
//! harm, and signed with their own key; they cannot sign for others.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::connection::EndId;
use super::{Happening, NodeId, ProcessId, Simulation};
use crate::evidence::{Evidence, SignerTag, SummaryEntry};
use crate::graph::Graph;
use crate::identity::MemberId;
use crate::limits;
use crate::machine::ConnectionId;
use crate::map::Member;
use crate::wire::Frame;

/// Pace at which it acts.
const PACE: Duration = Duration::from_millis(100);
/// Frames of others that it keeps for later.
pub(super) const HEARD_MAX: usize = 64;
/// Sequences of invented statements begin there: newer than what anybody states in a run.
const INVENTED_SEQUENCE: u64 = 1 << 40;

/// What a hostile member does, ten times a second, towards everybody that it is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hostility {
    /// Accuses all that it observes, and one that it does not.
    Accuse,
    /// Repeats frames that it heard.
    Replay,
    /// Accuses older and younger incarnations of those that it observes.
    OldIncarnations,
    /// Sends frames of the largest size that say nothing.
    HugeFrames,
    /// Sends frames that it heard, with a bit changed.
    CorruptedFrames,
    /// Offers statements of everybody, newer than what anybody states; whoever asks gets what it holds, or nothing.
    FalseOffers,
}

impl Simulation {
    pub(super) fn turn(&mut self, node: NodeId, hostility: Hostility) {
        if let Some(place) = self.node_mut(node) {
            place.hostility = Some(hostility);
            let process = self.process_of(node);
            self.schedule.push(self.now, Happening::Hostile(process));
        }
    }

    /// A hostile member remembers what it hears.
    pub(super) fn overhear(&mut self, node: NodeId, bytes: &[u8]) {
        if let Some(place) = self.node_mut(node).filter(|p| p.hostility.is_some()) {
            if place.heard.len() >= HEARD_MAX {
                place.heard.pop_front();
            }
            place.heard.push_back(bytes.to_vec());
        }
    }

    pub(super) fn act_hostile(&mut self, process: ProcessId) {
        if !self.is_current(process) {
            return;
        }
        let Some(hostility) = self.node(process.node).and_then(|place| place.hostility) else {
            return;
        };
        self.schedule
            .push(self.now + PACE, Happening::Hostile(process));
        let frames = self.hostile_frames(process.node, hostility);
        let mut targets = self.connections_of(process);
        if hostility == Hostility::HugeFrames {
            // One after the other: its own line is the limit.
            let tick = self.now.as_micros() / 100_000;
            let one = targets
                .iter()
                .nth(usize::try_from(tick).unwrap_or(0) % targets.len().max(1));
            targets = one.copied().into_iter().collect();
        }
        for connection in targets {
            for frame in &frames {
                self.send_message(connection, frame.clone());
            }
        }
    }

    fn hostile_frames(&mut self, node: NodeId, hostility: Hostility) -> Vec<Vec<u8>> {
        match hostility {
            Hostility::Accuse => self.accusation(node, 0).into_iter().collect(),
            Hostility::OldIncarnations => {
                let accused = [-1, 1].map(|incarnations| self.accusation(node, incarnations));
                accused.into_iter().flatten().collect()
            }
            Hostility::Replay => self.heard_by(node).into(),
            Hostility::HugeFrames => vec![vec![4; limits::FRAME_BYTES_MAX]],
            Hostility::FalseOffers => self.false_offers(node).into_iter().collect(),
            Hostility::CorruptedFrames => {
                let mut frames: Vec<Vec<u8>> = self.heard_by(node).into();
                for frame in &mut frames {
                    let bit = self.network.random();
                    let length = frame.len().max(1) as u64;
                    let place = usize::try_from(bit / 8 % length).unwrap_or(0);
                    if let Some(byte) = frame.get_mut(place) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                frames
            }
        }
    }

    fn heard_by(&self, node: NodeId) -> VecDeque<Vec<u8>> {
        self.node(node)
            .map_or_else(VecDeque::new, |place| place.heard.clone())
    }

    /// A statement that nobody made on the grounds of what it saw: about all that the member observes, and one that it
    /// does not, of incarnations so much younger.
    fn accusation(&self, node: NodeId, incarnations: i64) -> Option<Vec<u8>> {
        let (mesh, place) = (self.mesh(node)?, self.node(node)?);
        let map = mesh.signed_map().map();
        let graph = Graph::of(map);
        let own = graph.subjects(mesh.id().uid);
        let mut others = graph.members();
        let stranger = others.find(|uid| !own.contains(uid) && *uid != mesh.id().uid);
        let accused = own.iter().copied().chain(stranger).filter_map(|uid| {
            let mut id: MemberId = map.member(uid)?.id();
            id.incarnation = id.incarnation.saturating_add_signed(incarnations);
            Some(id)
        });
        let accused: Vec<MemberId> = accused.collect();
        let sequence = INVENTED_SEQUENCE + self.now.as_micros();
        let key = place.keypair.as_ref()?;
        let evidence = Evidence::sign(map, mesh.id(), &accused, false, sequence, key);
        Some(Frame::Evidence(vec![evidence]).encode())
    }

    fn false_offers(&self, node: NodeId) -> Option<Vec<u8>> {
        let members = &self.mesh(node)?.signed_map().map().members;
        let entry = |member: &Member| SummaryEntry {
            signer: SignerTag::of(member.id()),
            sequence: INVENTED_SEQUENCE + self.now.as_micros(),
        };
        Some(Frame::Offer(members.iter().map(entry).collect()).encode())
    }

    /// On so many of a thousand edges the observer no longer gets datagrams of its subject, and reports it although all is
    /// well with it.
    pub(super) fn report_falsely(&mut self, per_mille: u32) {
        let Some(graph) = self
            .node_ids()
            .find_map(|node| self.mesh(node))
            .map(|mesh| Graph::of(mesh.signed_map().map()))
        else {
            return;
        };
        for subject in graph.members() {
            for observer in graph.observers(subject) {
                if self.network.random() % 1000 < u64::from(per_mille)
                    && let (Some(from), Some(to)) = (self.node_of(subject), self.node_of(*observer))
                {
                    self.network.silence(from, to);
                }
            }
        }
    }

    /// Names of a process's connections that are up.
    fn connections_of(&self, process: ProcessId) -> BTreeSet<ConnectionId> {
        let ends = self.connections.ids().flat_map(|connection| {
            [false, true].map(|accepted| EndId {
                connection,
                accepted,
            })
        });
        ends.filter(|id| {
            self.end(*id)
                .is_some_and(|end| end.process == process && end.is_up())
        })
        .map(EndId::name)
        .collect()
    }
}

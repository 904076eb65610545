//! Members with a valid certificate and bad intentions. What they send is well formed where that does most
//! harm, and signed with their own key; they cannot sign for others.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::connection::EndId;
use super::{Happening, NodeId, ProcessId, Simulation};
use crate::convergence::Counts;
use crate::evidence::{Evidence, SignerTag, SummaryEntry};
use crate::graph::Graph;
use crate::identity::{Epoch, MemberId};
use crate::join_address::JoinAddress;
use crate::limits;
use crate::machine::ConnectionId;
use crate::map::Member;
use crate::signed::SignedMap;
use crate::wire::{Datagram, Frame};

/// Pace at which it acts.
const PACE: Duration = Duration::from_millis(100);
/// Probes to each at that pace: to answer them takes a quarter of a core.
const PROBES: u32 = 200;
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
    /// Says that it has the newest map that there can be, a map of a far era, another one of this epoch.
    FalseHellos,
    /// Says that all members applied the map, and more than there are.
    FalseCounts,
    /// Sends maps of the next epoch, without others, that it signed itself.
    ForgedMaps,
    /// Tells that joins are answered at its own address.
    ForgedAddresses,
    /// Asks for the statements of everybody, again and again.
    Asks,
    /// Sends so many probes that it takes the others much time to answer them.
    Probes,
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
        let probes = if hostility == Hostility::Probes {
            PROBES
        } else {
            0
        };
        for connection in targets {
            for frame in &frames {
                self.send_message(connection, frame.clone());
            }
            for nonce in 0..probes {
                self.send_datagram(connection, Datagram::Probe { nonce }.encode());
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
            Hostility::FalseHellos => self.false_hellos(node),
            Hostility::FalseCounts => self.false_counts(node),
            Hostility::ForgedMaps => self.forged_map(node).into_iter().collect(),
            Hostility::Asks => self.asks(node),
            Hostility::Probes => Vec::new(),
            Hostility::ForgedAddresses => self.forged_address(node).into_iter().collect(),
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
        // Two of one moment are both news.
        let second = u64::from(incarnations > 0);
        let sequence = INVENTED_SEQUENCE + self.now.as_micros() + second;
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

    fn false_hellos(&self, node: NodeId) -> Vec<Vec<u8>> {
        let Some(mesh) = self.mesh(node) else {
            return Vec::new();
        };
        let (era, epoch) = mesh.signed_map().map().version();
        let versions = [(era, Epoch::MAX), (u32::MAX, 0), (era, epoch)];
        let hello = |(era, epoch)| {
            let sha256 = [9; 8];
            Frame::Hello { era, epoch, sha256 }.encode()
        };
        versions.into_iter().map(hello).collect()
    }

    fn asks(&self, node: NodeId) -> Vec<Vec<u8>> {
        let Some(mesh) = self.mesh(node) else {
            return Vec::new();
        };
        let members = mesh.signed_map().map().members.iter();
        let signers = members.map(|member| SignerTag::of(member.id()));
        let reply = false;
        let signers = signers.take(limits::EVIDENCE_PER_FRAME_MAX).collect();
        vec![Frame::Wants { reply, signers }.encode(); limits::FRAMES_QUEUED_MAX]
    }

    fn false_counts(&self, node: NodeId) -> Vec<Vec<u8>> {
        let Some(mesh) = self.mesh(node) else {
            return Vec::new();
        };
        let map = mesh.signed_map().map();
        let (era, epoch) = map.version();
        let of = |members: usize| {
            let mut counts = Counts::default();
            (0..members).for_each(|_| counts.add(&Counts::one(Duration::ZERO)));
            Frame::Applied { era, epoch, counts }.encode()
        };
        vec![of(map.members.len()), of(map.members.len() + 1)]
    }

    fn forged_map(&self, node: NodeId) -> Option<Vec<u8>> {
        let (mesh, key) = (self.mesh(node)?, self.node(node)?.keypair.as_ref()?);
        let mut map = (**mesh.signed_map().map()).clone();
        map.epoch += 1;
        map.members.retain(|member| member.uid == mesh.id().uid);
        let bytes = SignedMap::sign(map, key).ok()?.encode();
        Some(Frame::Map { age_us: 0, bytes }.encode())
    }

    fn forged_address(&self, node: NodeId) -> Option<Vec<u8>> {
        let key = self.node(node)?.keypair.as_ref()?;
        let (number, address) = (self.now.as_micros(), self.address_at(node));
        let told = JoinAddress::sign(self.cluster, number, address, key);
        Some(Frame::JoinAddress(told).encode())
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

#[cfg(test)]
mod tests;

//! What peers do, from honest to hostile, drawn from a seed.

use std::net::SocketAddr;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use slotmesh_map::fixture::{keypair, uid};
use slotmesh_mesh::convergence::Counts;
use slotmesh_mesh::evidence::{Evidence, SignerTag, SummaryEntry};
use slotmesh_mesh::identity::{Keypair, MemberId};
use slotmesh_mesh::join_address::JoinAddress;
use slotmesh_mesh::machine::{ConnectionId, Disconnect, Event, Input, PeerIdentity, Unread};
use slotmesh_mesh::map::Map;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::wire::{Beat, Datagram, Frame};

/// Number of the key that signs maps.
pub const OPERATOR: u16 = 999;
/// Numbers of peers: members of the first map, and some that it does not list.
const PEERS: u16 = 16;
/// Maps remembered, so that old ones can be sent again.
const MAPS: usize = 8;

pub struct Actor {
    rng: Pcg64Mcg,
    connections: u64,
    maps: Vec<SignedMap>,
}

/// Two maps of one epoch were seen.
pub fn is_conflict(event: &Event) -> bool {
    matches!(event, Event::MapConflict { .. })
}

impl Actor {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Pcg64Mcg::seed_from_u64(seed),
            connections: 0,
            maps: Vec::new(),
        }
    }

    /// Members of the first map.
    pub fn size(&mut self) -> u16 {
        self.rng.random_range(1..=12)
    }

    pub fn sees(&mut self, map: SignedMap) {
        self.maps.push(map);
        if self.maps.len() > MAPS {
            self.maps.remove(0);
        }
    }

    /// Time until the next input: mostly moments, now and then a long sleep.
    pub fn pause(&mut self) -> Duration {
        let longest = match self.rng.random_range(0..100) {
            0 => 120_000_000,
            1..=10 => 2_000_000,
            11..=40 => 200_000,
            _ => 5_000,
        };
        Duration::from_micros(self.rng.random_range(0..longest))
    }

    /// Now and then the operator records the next map.
    pub fn recorded(&mut self, map: &Map) -> Option<SignedMap> {
        let due = self.rng.random_ratio(1, 50);
        due.then(|| self.changed(map, &keypair(OPERATOR), 1))?
    }

    /// Something that happens, if it can.
    pub fn input(&mut self, open: &[ConnectionId], map: &Map) -> Option<Input> {
        let one = (!open.is_empty()).then(|| open[self.rng.random_range(0..open.len())]);
        Some(match self.rng.random_range(0..100) {
            0..=19 => self.connected(map),
            20..=24 => Input::Disconnected {
                connection: one?,
                reason: self.disconnect(),
            },
            27 => Input::Refused {
                uid: uid(self.rng.random_range(0..PEERS)),
            },
            25..=26 => Input::DialFailed {
                uid: uid(self.rng.random_range(0..PEERS)),
            },
            28..=57 => Input::Datagram {
                connection: one?,
                bytes: self.datagram(map),
            },
            58..=96 => Input::Frame {
                connection: one?,
                bytes: self.frame(map),
            },
            97 => Input::Unread {
                connection: one?,
                why: match self.rng.random() {
                    true => Unread::TooLong,
                    false => Unread::TooSlow,
                },
            },
            98 => Input::SendDropped { connection: one? },
            // Once in a while, or no sequence would be long.
            99 if self.rng.random_ratio(1, 20) => Input::Leave,
            _ => Input::Timer,
        })
    }

    fn connected(&mut self, map: &Map) -> Input {
        self.connections += 1;
        let n = self.rng.random_range(0..PEERS);
        let key = match self.rng.random_ratio(9, 10) {
            true => keypair(n).public(),
            false => keypair(n + 100).public(),
        };
        let peer = match self.rng.random_range(0..10) {
            0 => PeerIdentity::Operator,
            _ => PeerIdentity::Agent { uid: uid(n), key },
        };
        let listed = map.members.iter().find(|member| member.uid == uid(n));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Input::Connected {
            connection: ConnectionId(self.connections),
            peer,
            remote: listed.map_or(nowhere, |member| member.address),
            dialed: self.rng.random(),
        }
    }

    fn disconnect(&mut self) -> Disconnect {
        let all = [
            Disconnect::ClosedByPeer,
            Disconnect::GoneAway,
            Disconnect::Reset,
            Disconnect::TimedOut,
            Disconnect::Local,
        ];
        all[self.rng.random_range(0..all.len())]
    }

    fn datagram(&mut self, map: &Map) -> Vec<u8> {
        let nonce = self.rng.random_range(0..50);
        let datagram = match self.rng.random_range(0..10) {
            0 => return self.noise(40),
            1 => Datagram::Probe { nonce },
            2 => Datagram::Answer { nonce },
            _ => Datagram::Beat(Beat {
                flags: self.rng.random(),
                epoch: map.epoch + self.rng.random_range(0..3),
                incarnation: map.epoch.saturating_sub(self.rng.random_range(0..3)),
                sequence: self.rng.random_range(0..500),
                digest: self.rng.random_range(0..3),
                timer_lag_ms: self.rng.random(),
                send_drops: self.rng.random_range(0..3),
            }),
        };
        let bytes = datagram.encode();
        self.damaged(bytes)
    }

    fn frame(&mut self, map: &Map) -> Vec<u8> {
        let frame = match self.rng.random_range(0..100) {
            0..=9 => return self.noise(300),
            10..=19 => Frame::Hello {
                era: map.era,
                epoch: map.epoch + self.rng.random_range(0..3),
                sha256: [self.rng.random_range(0..3); 8],
            },
            20..=21 => Frame::MapRequest,
            22..=24 => Frame::Applied {
                era: map.era,
                epoch: map.epoch,
                counts: Counts::one(self.pause()),
            },
            25..=29 => self.old_map(),
            30..=39 => self.next_map(map),
            40..=44 => Frame::Summary(self.entries(map)),
            45..=52 => Frame::Offer(self.entries(map)),
            57..=59 => Frame::JoinAddress(self.join_address(map)),
            53..=56 => {
                let entries = self.entries(map).into_iter();
                Frame::Wants {
                    reply: self.rng.random(),
                    signers: entries.map(|entry| entry.signer).collect(),
                }
            }
            _ => Frame::Evidence(
                (0..self.rng.random_range(0..40))
                    .map(|_| self.evidence(map))
                    .collect(),
            ),
        };
        let bytes = frame.encode();
        self.damaged(bytes)
    }

    /// Mostly the operator's.
    fn join_address(&mut self, map: &Map) -> JoinAddress {
        let signer = match self.rng.random_ratio(3, 4) {
            true => OPERATOR,
            false => self.rng.random_range(0..PEERS),
        };
        let at = SocketAddr::from(([10, 0, 0, 1], self.rng.random()));
        let number = self.rng.random_range(0..30);
        JoinAddress::sign(map.cluster, number, at, &keypair(signer))
    }

    /// One of the last maps once more, whole or as the difference between two of them.
    fn old_map(&mut self) -> Frame {
        let age_us = self.rng.random();
        let one = self.maps[self.rng.random_range(0..self.maps.len())].clone();
        let other = &self.maps[self.rng.random_range(0..self.maps.len())];
        match self.rng.random() {
            true => Frame::Map {
                age_us,
                bytes: one.encode(),
            },
            false => Frame::MapDifference {
                age_us,
                bytes: one.difference_from(other),
            },
        }
    }

    /// The next map; rarely another one of the same epoch, or one that somebody else signed.
    fn next_map(&mut self, map: &Map) -> Frame {
        let signer = match self.rng.random_ratio(9, 10) {
            true => keypair(OPERATOR),
            false => keypair(self.rng.random_range(0..PEERS)),
        };
        // A conflict is an alarm that ends all taking in of maps: it is to happen, and not at once.
        let later = match self.rng.random_ratio(1, 40) {
            true => 0,
            false => self.rng.random_range(1..3),
        };
        match self.changed(map, &signer, later) {
            Some(signed) => Frame::Map {
                age_us: self.rng.random(),
                bytes: signed.encode(),
            },
            None => Frame::MapRequest,
        }
    }

    /// A map with somebody more or less, or somebody failed, or moved to another zone; rarely at another interval.
    fn changed(&mut self, map: &Map, signer: &Keypair, later: u64) -> Option<SignedMap> {
        let mut next = map.clone();
        next.epoch += later;
        let n = self.rng.random_range(0..PEERS);
        match next.members.iter().position(|member| member.uid == uid(n)) {
            Some(at) if next.members.len() > 1 && (n != 0 || self.rng.random_ratio(1, 10)) => {
                drop(next.members.remove(at));
            }
            Some(at) => {
                let member = &mut next.members[at];
                match self.rng.random_ratio(1, 2) {
                    true => member.failed = !member.failed,
                    false => member.zone = format!("zone-{}", n % 3),
                }
            }
            None => {
                let mut member = slotmesh_map::fixture::member(n, "");
                member.incarnation = next.epoch;
                next.members.push(member);
                next.members.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        if self.rng.random_ratio(1, 10) {
            let paces = [100, 200, 1000];
            next.protocol.heartbeat_interval_ms = paces[self.rng.random_range(0..paces.len())];
        }
        let signed = SignedMap::sign(next, signer).ok()?;
        self.sees(signed.clone());
        Some(signed)
    }

    fn someone(&mut self, map: &Map) -> MemberId {
        match self.rng.random_range(0..20) {
            0 => MemberId::OPERATOR,
            1 => MemberId {
                uid: uid(self.rng.random_range(0..PEERS)),
                incarnation: self.rng.random_range(98..103),
            },
            _ => map.members[self.rng.random_range(0..map.members.len())].id(),
        }
    }

    fn entries(&mut self, map: &Map) -> Vec<SummaryEntry> {
        let count = self.rng.random_range(0..20);
        let entry = |_| SummaryEntry {
            signer: SignerTag::of(self.someone(map)),
            sequence: self.rng.random_range(0..30),
        };
        (0..count).map(entry).collect()
    }

    fn evidence(&mut self, map: &Map) -> Evidence {
        let signer = self.someone(map);
        let reported: Vec<MemberId> = (0..self.rng.random_range(0..4))
            .map(|_| self.someone(map))
            .collect();
        let leaves = self.rng.random_ratio(1, 20);
        let sequence = self.rng.random_range(0..30);
        let key = self.key_of(signer);
        Evidence::sign(map, signer, &reported, leaves, sequence, &key)
    }

    /// Mostly the signer's own.
    fn key_of(&mut self, signer: MemberId) -> Keypair {
        if self.rng.random_ratio(1, 20) {
            return keypair(500);
        }
        let known = (0..PEERS).find(|n| uid(*n) == signer.uid);
        keypair(known.unwrap_or(OPERATOR))
    }

    /// A bit flipped, or the end cut off, now and then.
    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() || !self.rng.random_ratio(1, 12) {
            return bytes;
        }
        let at = self.rng.random_range(0..bytes.len());
        if self.rng.random() {
            bytes[at] ^= 1 << self.rng.random_range(0..8);
        } else {
            bytes.truncate(at);
        }
        bytes
    }

    fn noise(&mut self, longest: usize) -> Vec<u8> {
        let length = self.rng.random_range(0..longest);
        (0..length).map(|_| self.rng.random()).collect()
    }
}

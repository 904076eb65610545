//! Decoding takes no more memory than a small multiple of what was received, whatever the bytes
//! claim. One test only: what is measured is the memory of the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use peak_alloc::PeakAlloc;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use slotmesh_mesh::evidence::{Evidence, SummaryEntry};
use slotmesh_mesh::identity::{Keypair, MemberId, PublicKey, Uid};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{Map, Member, Owner, Protocol};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::wire::{Datagram, Frame};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes in memory for one byte of a message, while it is read and its buffers grow.
const MULTIPLE: usize = 12;
/// What decoding may take however short the message is.
const CONSTANT: usize = 16 * 1024;
/// What a map may take: it is unpacked first, into at most a frame, however short it travelled.
const MAP_MEMORY_MAX: usize = MULTIPLE * limits::FRAME_BYTES_MAX;

#[derive(Clone, Copy, Debug)]
enum Format {
    Datagram,
    Frame,
    SignedMap,
    Difference,
    JoinRequest,
    JoinResponse,
}

const FORMATS: [Format; 6] = [
    Format::Datagram,
    Format::Frame,
    Format::SignedMap,
    Format::Difference,
    Format::JoinRequest,
    Format::JoinResponse,
];

/// What differences are applied to.
static BASE: LazyLock<SignedMap> =
    LazyLock::new(|| SignedMap::sign(map(250, 2), &operator()).unwrap());

/// Most memory that was in use at once while these bytes were decoded.
fn memory_for(format: Format, bytes: &[u8]) -> usize {
    let cluster = Uid::from_bytes([1; 16]);
    let keys = [operator().public()];
    let base = &*BASE;
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    match format {
        Format::Datagram => drop(Datagram::decode(bytes)),
        Format::Frame => drop(Frame::decode(bytes)),
        Format::SignedMap => drop(SignedMap::decode(bytes, cluster, &keys)),
        Format::Difference => drop(SignedMap::apply(base, bytes, &keys)),
        Format::JoinRequest => drop(JoinRequest::decode(bytes)),
        Format::JoinResponse => drop(JoinResponse::decode(bytes)),
    }
    MEMORY.peak_usage().saturating_sub(before)
}

fn check(format: Format, bytes: &[u8], what: &str) {
    let allowed = match format {
        Format::SignedMap | Format::Difference => MAP_MEMORY_MAX,
        _ => MULTIPLE * bytes.len() + CONSTANT,
    };
    let taken = memory_for(format, bytes);
    let length = bytes.len();
    assert!(
        taken <= allowed,
        "{what} as {format:?}: {taken} for {length} bytes"
    );
}

fn operator() -> Keypair {
    Keypair::from_seed([2; 32])
}

fn uid(n: usize) -> Uid {
    Uid::from_bytes((n as u128 + 1).to_be_bytes())
}

fn key(n: usize) -> PublicKey {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn id(n: usize) -> MemberId {
    MemberId {
        uid: uid(n),
        incarnation: 1,
    }
}

/// A sound map with as many members and owners as asked for, one slot each as long as there are any.
fn map(members: usize, owners: usize) -> Map {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
    let slots = |n: usize| {
        u16::try_from(2 * n).map_or(SlotSet::empty(), |n| [(n, n)].into_iter().collect())
    };
    let owner = |n: usize| Owner {
        name: "o".into(),
        uid: uid(n),
        address,
        capacity: 0,
        slots: slots(n),
    };
    let member = |n: usize| Member {
        name: format!("{n:04}"),
        uid: uid(n),
        incarnation: 1,
        key: key(n),
        node: String::new(),
        zone: String::new(),
        address,
        failed: false,
        owners: (0..owners).map(|k| owner(n * owners + k)).collect(),
    };
    Map {
        cluster: Uid::from_bytes([1; 16]),
        cell: "c".into(),
        era: 0,
        epoch: 1,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: (0..members).map(member).collect(),
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}

/// Messages as they should be.
fn samples() -> Vec<(Format, Vec<u8>)> {
    let map = map(5, 2);
    let evidence = Evidence::sign(&map, id(0), &[id(1)], false, 1, &operator());
    let entry = SummaryEntry::of(&evidence);
    let entries = vec![entry; 20];
    let signed = SignedMap::sign(map, &operator()).unwrap().encode();
    let mut newer = (**BASE.map()).clone();
    newer.epoch += 1;
    newer.members.remove(3);
    newer.members[0].owners[0].slots = SlotSet::empty();
    newer.members[1].zone = "z".into();
    let difference = SignedMap::sign(newer, &operator()).unwrap();
    let difference = difference.difference_from(&BASE);
    let request = JoinRequest {
        cluster: uid(0),
        pod_uid: uid(1),
        token: "t".repeat(900),
        csr_der: vec![7; 300],
    };
    let chain_der = vec![vec![7; 400]; 2];
    vec![
        (Format::Datagram, Datagram::Probe { nonce: 1 }.encode()),
        (
            Format::Frame,
            Frame::Map {
                age_us: 0,
                bytes: signed.clone(),
            }
            .encode(),
        ),
        (Format::Frame, Frame::Evidence(vec![evidence; 20]).encode()),
        (
            Format::Frame,
            Frame::Wants {
                reply: false,
                signers: vec![entry.signer; 20],
            }
            .encode(),
        ),
        (Format::Frame, Frame::Offer(entries.clone()).encode()),
        (Format::Frame, Frame::Summary(entries).encode()),
        (Format::SignedMap, signed),
        (Format::Difference, difference),
        (Format::JoinRequest, request.encode()),
        (
            Format::JoinResponse,
            JoinResponse::Certificate { chain_der }.encode(),
        ),
    ]
}

/// Messages that claim much, or whose parts are as small as parts can be.
fn hostile() -> Vec<(Format, &'static str, Vec<u8>)> {
    let lengths: [&[u8]; 3] = [
        &[0xff, 0xff, 0x3f],
        &[0xff; 4],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    let mut all = Vec::new();
    for length in lengths {
        for kind in 0..=9 {
            let claim = [&[kind][..], length, &[0; 40]].concat();
            all.push((Format::Frame, "a claimed length", claim.clone()));
            all.push((Format::JoinResponse, "a claimed length", claim));
        }
        let claim = [&[0; 32][..], length, &[0; 40]].concat();
        all.push((Format::JoinRequest, "a claimed length", claim));
    }
    let count = [0xff, 0xff, 0x3f];
    let zeros = vec![0; limits::FRAME_BYTES_MAX - 8];
    let packed = |kind: &[u8]| [kind, &count[..], &zeros].concat();
    all.push((Format::Frame, "the smallest evidence", packed(&[4])));
    all.push((Format::Frame, "the smallest lines", packed(&[5, 0])));
    all.push((Format::JoinResponse, "empty certificates", packed(&[0])));
    let large =
        |members, owners| SignedMap::sign(map(members, owners), &Keypair::from_seed([9; 32]));
    all.push((
        Format::SignedMap,
        "many owners, wrong key",
        large(250, 64).unwrap().encode(),
    ));
    for (what, plain) in hostile_differences() {
        let packed = zstd::bulk::compress(&plain, 3).unwrap();
        all.push((Format::Difference, what, packed));
    }
    all
}

/// Differences to the base, with nobody's signature: what is unpacked is as long as can be, or close.
fn hostile_differences() -> Vec<(&'static str, Vec<u8>)> {
    let head = [&[0; 64][..], &BASE.sha256()[..], &[0, 2, 0, 0]].concat();
    let number = |n: usize| postcard::to_stdvec(&n).unwrap();
    let room = limits::FRAME_BYTES_MAX - head.len() - 16;
    let list = |count: usize, elements: Vec<u8>| [number(count), elements].concat();
    let nothing = || vec![0];
    let difference = |lists: [Vec<u8>; 4]| [head.clone(), lists.concat(), vec![0, 0]].concat();
    let moved = |places: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut moves = Vec::new();
        let mut count = 0;
        for (member, owner) in places {
            moves.extend([number(member), number(owner), vec![0, 0]].concat());
            count += 1;
        }
        let moved = list(count, moves);
        difference([nothing(), nothing(), moved, nothing()])
    };
    let places = |count: usize| list(count, [number(300)].concat().repeat(count));
    let most = 2 * usize::from(slotmesh_mesh::slot::SLOT_COUNT);
    // A member of empty names, and one with as many owners of empty names as there is room for.
    let member = |owners: usize, owner: &[u8]| {
        let address = [0, 127, 0, 0, 1, 1];
        let start = [&[0][..], &[7; 16], &[1], &[3; 32], &[0, 0], &address, &[0]].concat();
        [start, list(owners, owner.repeat(owners))].concat()
    };
    let owner = [&[0][..], &[7; 16], &[0, 127, 0, 0, 1, 1], &[0, 0]].concat();
    let members = room / member(0, &[]).len();
    let crowded = member(limits::OWNERS_PER_MEMBER_MAX, &owner);
    let changed = |count, member: Vec<u8>| {
        let changed = list(count, member.repeat(count));
        difference([nothing(), nothing(), nothing(), changed])
    };
    vec![
        (
            "all moves of one member",
            moved(&mut std::iter::repeat_n((0, 0), room / 4)),
        ),
        (
            "one move each of 65,536",
            moved(&mut (0..65_536).map(|n| (n, 0))),
        ),
        (
            "as many moves as there may be",
            moved(&mut (0..most).map(|n| (n / 2, n % 2))),
        ),
        (
            "one member again and again",
            difference([places(room / 4), places(room / 5), nothing(), nothing()]),
        ),
        ("the smallest members", changed(members, member(0, &[]))),
        (
            "one member of the smallest owners",
            changed(1, member((room - 64) / owner.len(), &owner)),
        ),
        (
            "members of as many owners as there may be",
            changed(room / crowded.len(), crowded),
        ),
    ]
}

#[test]
fn memory_is_bounded_by_what_was_received() {
    for (format, what, bytes) in hostile() {
        check(format, &bytes, what);
    }
    let mut rng = Pcg64Mcg::seed_from_u64(4);
    let samples = samples();
    for _ in 0..3000 {
        for (format, bytes) in &samples {
            let mut damaged = bytes.clone();
            for _ in 0..rng.random_range(0..4) {
                let position = rng.random_range(0..damaged.len());
                damaged[position] = rng.random();
            }
            damaged.truncate(rng.random_range(1..=damaged.len()));
            check(*format, &damaged, "a damaged message");
        }
        let length = rng.random_range(0..200);
        let bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        FORMATS
            .iter()
            .for_each(|format| check(*format, &bytes, "any bytes"));
    }
}

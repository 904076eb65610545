#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use slotmesh_map::fixture::{keypair, map};

fn evidence() -> Evidence {
    let map = map(2);
    let (a, b) = (map.members[0].id(), map.members[1].id());
    Evidence::sign(&map, a, &[b], false, 7, &keypair(0))
}

/// One frame of each kind.
fn samples() -> [Frame; 10] {
    let held = evidence();
    let entry = SummaryEntry::of(&held);
    [
        Frame::Hello {
            era: 1,
            epoch: 1_790_000_412,
            sha256: [9; 8],
        },
        Frame::Map {
            age_us: 900,
            bytes: vec![7; 50],
        },
        Frame::MapDifference {
            age_us: 0,
            bytes: vec![8; 50],
        },
        Frame::MapRequest,
        Frame::Evidence(vec![held; 2]),
        Frame::Summary(vec![entry; 3]),
        Frame::JoinAddress(join_address()),
        Frame::Applied {
            era: 0,
            epoch: 300,
            counts: Counts::one(std::time::Duration::from_millis(4)),
        },
        Frame::Offer(vec![entry; 3]),
        Frame::Wants {
            reply: true,
            signers: vec![entry.signer; 3],
        },
    ]
}

fn join_address() -> JoinAddress {
    let at = std::net::SocketAddr::from(([10, 0, 0, 7], 7401));
    JoinAddress::sign(map(2).cluster, 300, at, &keypair(0))
}

#[test]
fn golden_join_address() {
    let bytes = Frame::JoinAddress(join_address()).encode();
    let expected = [6, 0xac, 2, 0, 10, 0, 0, 7, 0xe9, 0x39];
    assert_eq!(bytes[..expected.len()], expected);
    assert_eq!(bytes.len(), expected.len() + 64, "and the signature");
}

#[test]
fn the_first_byte_is_the_kind() {
    for (kind, frame) in samples().iter().enumerate() {
        assert_eq!(usize::from(frame.encode()[0]), kind);
        assert_eq!(Frame::decode(&frame.encode()).as_ref(), Ok(frame));
    }
    assert_eq!(samples().len(), usize::from(LAST_FRAME_KIND) + 1);
}

#[test]
fn golden_evidence_frame() {
    let held = evidence();
    let bytes = Frame::Evidence(vec![held.clone()]).encode();
    let uid = |n: u8| [&[0, n][..], &[9; 14][..]].concat();
    let expected = [
        &[4, 1][..], // kind, one item
        &uid(0),
        &[100],                       // signer
        &[100, 7],                    // epoch, sequence
        &[0],                         // does not leave
        &[1, 0x9e, 0xeb, 0x0c, 0xa7], // one tag
        held.signature.as_bytes(),
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn golden_datagrams() {
    let beat = Beat {
        flags: FLAG_DOUBT,
        epoch: 1_790_000_412,
        incarnation: 1_790_000_400,
        sequence: 258,
        digest: 0x0102_0304_0506_0708,
        timer_lag_ms: 3,
        send_drops: 1,
    };
    let golden = [
        1, 1, 0, 0, 0x6a, 0xb1, 0x3d, 0x1c, 0, 0, 0, 12, 0, 0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3,
        0, 1,
    ];
    assert_eq!(Datagram::Beat(beat).encode(), golden);
    assert_eq!(golden.len(), limits::BEAT_BYTES_MAX);
    let mut admitted_before_all_epochs = golden;
    admitted_before_all_epochs[8] = 0xff;
    assert_eq!(
        Datagram::decode(&admitted_before_all_epochs),
        Err(WireError::Malformed)
    );
    assert_eq!(Datagram::Probe { nonce: 5 }.encode(), [2, 0, 0, 0, 5]);
    assert_eq!(Datagram::Answer { nonce: 5 }.encode(), [3, 0, 0, 0, 5]);
}

/// The tag of the first member of the fixture, as a signer.
const TAG_OF_SIGNER: &[u8] = &[0xd4, 0x30, 0x3e, 0x25, 0x50, 0x60];

#[test]
fn golden_frames() {
    let hello = Frame::Hello {
        era: 1,
        epoch: 300,
        sha256: [9; 8],
    };
    assert_eq!(hello.encode(), [0, 1, 0xac, 2, 9, 9, 9, 9, 9, 9, 9, 9]);
    let map = |age_us| Frame::Map {
        age_us,
        bytes: vec![7],
    };
    assert_eq!(map(5).encode(), [1, 5, 1, 7]);
    assert_eq!(map(300).encode(), [1, 0xac, 2, 1, 7]);
    let difference = Frame::MapDifference {
        age_us: 5,
        bytes: vec![7],
    };
    assert_eq!(difference.encode(), [2, 5, 1, 7]);
    let applied = [
        7, 0, 0xac, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(
        samples()[7].encode(),
        applied,
        "a bucket each, the third holds one"
    );
    assert_eq!(Frame::MapRequest.encode(), [3]);
    assert_eq!(Frame::Evidence(vec![]).encode(), [4, 0]);
    let entry = SummaryEntry {
        sequence: 300,
        ..SummaryEntry::of(&evidence())
    };
    let line = [TAG_OF_SIGNER, &[0xac, 2][..]].concat();
    for (kind, frame) in [
        (5, Frame::Summary(vec![entry])),
        (8, Frame::Offer(vec![entry])),
    ] {
        assert_eq!(frame.encode(), [&[kind, 1][..], &line].concat());
    }
    let wants = Frame::Wants {
        reply: false,
        signers: vec![entry.signer],
    };
    assert_eq!(wants.encode(), [&[9, 0, 1][..], TAG_OF_SIGNER].concat());
}

#[test]
fn frames_round_trip() {
    let entry = SummaryEntry::of(&evidence());
    for frame in [
        Frame::Hello {
            era: 0,
            epoch: u64::MAX,
            sha256: [1; 8],
        },
        Frame::Map {
            age_us: u64::MAX,
            bytes: vec![1; 1000],
        },
        Frame::Evidence(vec![evidence(); 3]),
        Frame::Summary(vec![entry; 5]),
    ] {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

#[test]
fn what_exceeds_a_limit_is_refused() {
    let many = Frame::Evidence(vec![evidence(); limits::EVIDENCE_PER_FRAME_MAX + 1]);
    assert_eq!(Frame::decode(&many.encode()), Err(WireError::Length));
    let entry = SummaryEntry::of(&evidence());
    let entries = vec![entry; limits::SUMMARY_ENTRIES_MAX + 1];
    let wants = Frame::Wants {
        reply: true,
        signers: vec![entry.signer; limits::EVIDENCE_PER_FRAME_MAX + 1],
    };
    for many in [
        Frame::Summary(entries.clone()),
        Frame::Offer(entries),
        wants,
    ] {
        assert_eq!(Frame::decode(&many.encode()), Err(WireError::Length));
    }
    assert_eq!(
        Frame::decode(&vec![1; limits::FRAME_BYTES_MAX + 1]),
        Err(WireError::Length)
    );
    assert_eq!(Frame::decode(&[10]), Err(WireError::Kind));
    assert_eq!(Frame::decode(&[3, 0]), Err(WireError::Length));
    assert_eq!(
        Frame::decode(&[4, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(WireError::Malformed)
    );
    assert_eq!(
        Datagram::decode(&[2, 0, 0, 0, 5, 0]),
        Err(WireError::Length)
    );
    assert_eq!(Datagram::decode(&[0]), Err(WireError::Kind));
    assert_eq!(Datagram::decode(&[]), Err(WireError::Length));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(datagram) = Datagram::decode(&bytes) {
            prop_assert_eq!(datagram.encode(), bytes.clone());
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn beats_round_trip(flags: u8, epoch in 0..=limits::EPOCH_MAX, age: u32, sequence: u32, digest: u64, lag: u16, drops: u16) {
        let incarnation = epoch.saturating_sub(age.into());
        let beat = Beat { flags, epoch, incarnation, sequence, digest, timer_lag_ms: lag, send_drops: drops };
        prop_assert_eq!(Datagram::decode(&Datagram::Beat(beat).encode()), Ok(Datagram::Beat(beat)));
    }

    #[test]
    fn damaged_frames_decode_or_are_refused(
        kind in 0..10_usize,
        flips in prop::collection::vec((0_usize..1000, any::<u8>()), 1..4),
        cut in 0_usize..1000,
    ) {
        let mut bytes = samples()[kind].encode();
        let length = bytes.len();
        for (position, value) in flips {
            bytes[position % length] = value;
        }
        bytes.truncate(length - cut % length);
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }
}

//! `docs/protocol.md` says what the code does: its table of limits and its bytes are compared with it.
#![cfg(not(beyond_record))]

use std::collections::BTreeMap;

use slotmesh_mesh::evidence::Tag;
use slotmesh_mesh::identity::{MemberId, Uid};
use slotmesh_mesh::limits::*;
use slotmesh_mesh::wire::{Beat, Datagram, FLAG_DOUBT, Frame};

const PAGE: &str = include_str!("../../docs/protocol.md");

macro_rules! values {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), format!("{:?}", $name))),*] };
}

#[test]
fn limits_are_those_of_the_code() {
    let values = BTreeMap::from(values![
        BEAT_BYTES_MAX,
        DATAGRAM_BYTES_MAX,
        MEMBERS_MAX,
        MAP_BYTES_MAX,
        FRAME_BYTES_MAX,
        OBSERVERS_MAX,
        RINGS,
        VOTERS_MAX,
        CONNECTIONS_MAX,
        REDIAL_MIN,
        REDIAL_MAX,
        HANDSHAKE_TIMEOUT,
        IDLE_TIMEOUT,
        ALONE_AFTER,
        ALONE_AFTER_AS_THE_ONLY,
        ALONE_TICKS,
        LEAVE_TIMEOUT,
        OPERATORS_MAX,
        STRANGERS_MAX,
        OPERATOR_OBSERVES_MAX,
        OPERATOR_HEARD_BEATS,
        SECOND_LOOKS_MAX,
        REPORTERS,
        REPORTERS_MAX,
        DIAL_PATIENCE,
        EVIDENCE_MAX,
        EVIDENCE_PER_FRAME_MAX,
        SUMMARY_ENTRIES_MAX,
        TAGS_MAX,
        WANTED_MAX,
        OFFERERS_MAX,
        FORGED_MAX,
        FORGED_MAP_WEIGHT,
        FORGED_PAUSE,
        MAPS_READ_MAX,
        MAPS_READ_PAUSE,
        MAPS_AT_ONCE,
        DIFFERENCES_FOR_A_MAP,
        PARTED_MAX,
        SERVED_BURST,
        SERVED_REFILL,
        WANTED_PATIENCE,
        WANTED_PATIENCE_MAX,
        REPORTERS_OF_LOST,
        STATEMENT_PATIENCE_BEATS,
        STREAMS,
        FRAMES_QUEUED_MAX,
        OLDER_MAPS_MAX,
        PROBES,
        PROBES_PER_BEAT,
        SILENCE_BEATS_MIN,
        SILENCE_BEATS_MAX,
        LOSS_WINDOW_BEATS,
        LOSS_BEATS,
        HEARING_BEATS,
        HEARING_ANSWERS,
        KNOCK_PART,
        STEADY_BEATS,
        CLEAR_BEATS,
        STATEMENTS_BURST,
        STATEMENTS_REFILL_BEATS,
        UNHEARD_BEATS,
        CAUTION_BEATS,
        FANOUT,
        FANOUT_MANY_DEAD,
        RUMOUR_HOPS,
        NEWS_AT_ONCE,
        UNFOUND_FEW,
        WITNESSES,
        WITNESSES_OF_SPEAKER,
        WITNESSES_OF_FEW,
        MUTE_SUBJECTS,
        WITNESSES_FOR_EACH_MUTE,
        ANNOUNCED_MAX,
        LONELY_BELOW,
        CATCH_UP_NEIGHBOURS,
        OLD_EDGE_LINGER,
        EDGE_GRACE,
        REPAIR_INTERVAL,
        RUMOUR_TIME,
        REPAIR_PATIENCE,
        NEWS_PAUSE_EACH,
        NEWS_PAUSE_MAX,
        REST_FOR_EACH_REPORT,
        REPORTS_QUIET,
        REPORTS_PATIENCE,
        USUAL_INTERVAL,
        PULL_PAUSE_MIN,
        PULL_PAUSE_MAX,
        FAR_PATIENCE,
        FAR_PATIENCE_SPREAD,
        CONVERGENCE_PAUSE,
        CONVERGENCE_WAIT,
        TIMER_LAG_MAX,
        LONG_SILENCE,
        STRANGER_LINGER,
        OPERATOR_HEARD_MIN,
    ]);
    let (_, table) = PAGE.split_once("\n## Limits\n").unwrap_or_default();
    let (table, _) = table.split_once("\n## ").unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name, value.strip_suffix(" |")?.to_owned()))
    });
    assert_eq!(BTreeMap::from_iter(rows), values);
}

/// What the text names in capitals is a limit of the table.
#[test]
fn every_limit_that_the_text_names_is_in_the_table() {
    let quoted = PAGE.split('`').skip(1).step_by(2);
    let capitals =
        |name: &&str| name.len() > 3 && name.chars().all(|c| c == '_' || c.is_ascii_uppercase());
    for name in quoted.filter(capitals) {
        assert!(PAGE.contains(&format!("\n| `{name}` | ")), "{name}");
    }
}

#[test]
fn bytes_are_those_of_the_code() {
    let beat = Datagram::Beat(Beat {
        flags: FLAG_DOUBT,
        epoch: 1_790_000_412,
        incarnation: 1_790_000_400,
        sequence: 258,
        digest: 0x0102_0304_0506_0708,
        timer_lag_ms: 3,
        send_drops: 1,
    });
    let hello = Frame::Hello {
        era: 1,
        epoch: 300,
        sha256: [9; 8],
    };
    let map = Frame::Map {
        age_us: 300,
        bytes: vec![7],
    };
    let tag = Tag::of(MemberId {
        uid: Uid::from_bytes(1_u128.to_be_bytes()),
        incarnation: 300,
    });
    let wants = Frame::Wants {
        reply: true,
        signers: Vec::new(),
    };
    let all = [
        ("beat", beat.encode()),
        ("probe", Datagram::Probe { nonce: 5 }.encode()),
        ("answer", Datagram::Answer { nonce: 5 }.encode()),
        ("Hello, era 1, epoch 300", hello.encode()),
        ("Map, age 300 us, one byte", map.encode()),
        ("MapRequest", Frame::MapRequest.encode()),
        ("tag of UID 00…01, incarnation 300", tag.as_bytes().to_vec()),
        ("Evidence, empty", Frame::Evidence(Vec::new()).encode()),
        ("Summary, empty", Frame::Summary(Vec::new()).encode()),
        ("Offer, empty", Frame::Offer(Vec::new()).encode()),
        ("Wants, an answer, empty", wants.encode()),
    ];
    for (name, bytes) in all {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("    {name} ")));
        let shown = line.and_then(|line| line.strip_prefix(&format!("    {name} ")));
        assert_eq!(shown.map(str::trim), Some(hex.join(" ").as_str()), "{name}");
    }
}

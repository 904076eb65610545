#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::time::Duration;

use super::{Election, Intent, LeaseView, Role, Step, Times, TimesError};

const ME: &str = "me";
const OTHER: &str = "other";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn view(version: u32, holder: &str, renewed: u32) -> LeaseView {
    LeaseView {
        version: version.to_string(),
        holder: holder.to_owned(),
        duration_seconds: 15,
        renewed: renewed.to_string(),
        transitions: 3,
    }
}

fn election() -> Election {
    Election::new(ME.to_owned(), Times::default())
}

fn leader(since: u64) -> Election {
    let mut election = election();
    election.on_written(at(since), view(1, ME, 1));
    election
}

fn writes(parent: Option<u32>, takes: bool, transitions: i32) -> Step {
    Step::Write(Intent {
        parent: parent.map(|parent| parent.to_string()),
        takes,
        transitions,
    })
}

#[test]
fn every_state_and_what_a_read_may_show() {
    // (state, read at, what it shows, what follows, role afterwards)
    let waiting = || {
        let mut election = election();
        election.on_read(at(100), Some(view(7, OTHER, 1)));
        election
    };
    let table = [
        (
            "nothing seen, no lease",
            election(),
            100,
            None,
            writes(None, true, 0),
            Role::Follower,
        ),
        (
            "nothing seen, held",
            election(),
            100,
            Some(view(7, OTHER, 1)),
            Step::Wait,
            Role::Follower,
        ),
        (
            "nothing seen, released",
            election(),
            100,
            Some(view(7, "", 1)),
            writes(Some(7), true, 4),
            Role::Follower,
        ),
        (
            "nothing seen, ours of before",
            election(),
            100,
            Some(view(7, ME, 1)),
            writes(Some(7), false, 3),
            Role::Follower,
        ),
        (
            "waiting, unchanged, too early",
            waiting(),
            114,
            Some(view(7, OTHER, 1)),
            Step::Wait,
            Role::Follower,
        ),
        (
            "waiting, unchanged for its duration",
            waiting(),
            115,
            Some(view(7, OTHER, 1)),
            writes(Some(7), true, 4),
            Role::Follower,
        ),
        (
            "waiting, renewed",
            waiting(),
            115,
            Some(view(8, OTHER, 2)),
            Step::Wait,
            Role::Follower,
        ),
        (
            "waiting, only a label changed",
            waiting(),
            115,
            Some(view(8, OTHER, 1)),
            writes(Some(8), true, 4),
            Role::Follower,
        ),
        (
            "waiting, deleted",
            waiting(),
            101,
            None,
            writes(None, true, 0),
            Role::Follower,
        ),
        (
            "leading, still ours",
            leader(100),
            102,
            Some(view(1, ME, 1)),
            writes(Some(1), false, 3),
            Role::Leader,
        ),
        (
            "leading, somebody took it",
            leader(100),
            102,
            Some(view(9, OTHER, 1)),
            Step::Wait,
            Role::Follower,
        ),
        (
            "leading, deleted",
            leader(100),
            102,
            None,
            writes(None, true, 0),
            Role::Leader,
        ),
        (
            "deposed by time, still ours",
            leader(100),
            111,
            Some(view(1, ME, 1)),
            writes(Some(1), false, 3),
            Role::Follower,
        ),
    ];
    for (name, mut election, now, shown, step, role) in table {
        assert_eq!(election.on_read(at(now), shown), step, "{name}");
        assert_eq!(election.role(at(now)), role, "{name}");
    }
}

#[test]
fn a_leader_renews_without_reading_until_something_went_wrong() {
    let mut election = leader(100);
    assert_eq!(election.attempt(at(102)), writes(Some(1), false, 3));
    election.on_conflict();
    assert_eq!(election.attempt(at(102)), Step::Read);
    let mut election = leader(100);
    election.on_failure();
    assert_eq!(election.attempt(at(102)), Step::Read);
    assert_eq!(
        election.role(at(102)),
        Role::Leader,
        "a failed call alone deposes nobody"
    );
}

#[test]
fn a_leader_stops_before_anybody_may_take_over() {
    let times = Times::default();
    // The write was sent at 100 and answered late; the tenure counts from when it was sent.
    let leader = leader(100);
    assert_eq!(leader.role(at(109)), Role::Leader);
    assert_eq!(leader.role(at(110)), Role::Follower);
    assert_eq!(leader.attempt(at(110)), Step::Read);
    // The earliest that a rival can have seen that write is when it was sent.
    let mut rival = Election::new(OTHER.to_owned(), times);
    let renewal = view(1, ME, 1);
    assert_eq!(rival.on_read(at(100), Some(renewal.clone())), Step::Wait);
    assert_eq!(rival.on_read(at(110), Some(renewal.clone())), Step::Wait);
    assert!(matches!(
        rival.on_read(at(115), Some(renewal)),
        Step::Write(_)
    ));
}

#[test]
fn a_longer_promise_of_the_holder_is_kept() {
    let mut election = election();
    let mut lease = view(7, OTHER, 1);
    lease.duration_seconds = 40;
    election.on_read(at(100), Some(lease.clone()));
    assert_eq!(election.on_read(at(139), Some(lease.clone())), Step::Wait);
    assert!(matches!(
        election.on_read(at(140), Some(lease)),
        Step::Write(_)
    ));
}

#[test]
fn resigning_names_the_version_to_replace_once() {
    let mut election = leader(100);
    assert_eq!(
        election.resign().map(|view| view.version),
        Some("1".to_owned())
    );
    assert_eq!(election.role(at(100)), Role::Follower);
    assert_eq!(election.resign(), None);
    let mut follower = super::Election::new(ME.to_owned(), Times::default());
    follower.on_read(at(1), Some(view(7, OTHER, 1)));
    assert_eq!(
        follower.resign(),
        None,
        "somebody else's lease is not ours to release"
    );
}

#[test]
fn times_out_of_order_are_refused() {
    let good = Times::default();
    assert_eq!(good.validate(), Ok(good));
    let short = Times {
        lease: good.renew_deadline,
        ..good
    };
    assert!(matches!(
        short.validate(),
        Err(TimesError::LeaseTooShort { .. })
    ));
    let slow = Times {
        retry: good.renew_deadline,
        ..good
    };
    assert!(matches!(
        slow.validate(),
        Err(TimesError::RetryTooLong { .. })
    ));
    let zero = Times {
        retry: Duration::ZERO,
        ..good
    };
    assert!(matches!(
        zero.validate(),
        Err(TimesError::RetryTooLong { .. })
    ));
}

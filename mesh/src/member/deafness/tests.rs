//! A member that hears no subject asks its observers, and some of the answers arrive.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::limits;
use crate::machine::Input;
use crate::member::settled::{SETTLED_MS, Subject, at, connection};
use crate::wire::Datagram;

/// Whether it takes itself for deaf when each of these observers answers in so many rounds of ten.
fn is_deaf_when_answered(answers: &[(u16, usize)]) -> bool {
    let mut subject = Subject::settled();
    let (mut ms, mut rounds) = (SETTLED_MS, 0);
    loop {
        subject.pass(ms, |_| false);
        ms += 10;
        assert!(ms < SETTLED_MS + 3000);
        let Some(trial) = &subject.mesh.deafness.trial else {
            match rounds {
                0 => continue,
                _ => break,
            }
        };
        if trial.rounds.len() == rounds {
            continue;
        }
        rounds = trial.rounds.len();
        let bytes = Datagram::Answer {
            nonce: trial.rounds[rounds - 1],
        }
        .encode();
        let answering = answers.iter().filter(|(_, most)| rounds <= *most);
        for (observer, _) in answering {
            let (connection, bytes) = (connection(*observer), bytes.clone());
            // A second copy counts no more than the first.
            for bytes in [bytes.clone(), bytes] {
                subject.give(at(ms), Input::Datagram { connection, bytes });
            }
        }
    }
    assert_eq!(rounds, limits::LOSS_WINDOW_BEATS as usize);
    subject.mesh.is_deaf()
}

/// Some answers arrive at a member that loses most of what is sent to it, too: of each observer a few.
#[test]
fn nine_answers_of_ten_from_one_observer_show_that_it_hears() {
    let enough = limits::HEARING_ANSWERS as usize;
    assert!(is_deaf_when_answered(&[]));
    assert!(!is_deaf_when_answered(&[(1, enough)]));
    assert!(is_deaf_when_answered(&[(1, enough - 1)]));
    let all: Vec<(u16, usize)> = (1..8).map(|observer| (observer, 4)).collect();
    assert!(is_deaf_when_answered(&all), "each has to answer by itself");
}

#![allow(clippy::unwrap_used)]

use super::*;

/// Who reads the event of a death looks for its cause: a verdict is named where there was one, and nowhere else.
#[test]
fn a_death_is_told_by_how_it_is_known() {
    let names = || vec!["agent-b".to_owned()];
    let epoch = 7;
    let deaths = [
        (
            CellEvent::MembersFailed {
                names: names(),
                epoch,
            },
            "by the verdict of their peers",
        ),
        (
            CellEvent::MembersPresumedDead {
                names: names(),
                epoch,
            },
            "the operator's probes",
        ),
        (
            CellEvent::MembersNotReplaced {
                names: names(),
                epoch,
            },
            "their pods are gone",
        ),
    ];
    let words = deaths.each_ref().map(|(_, words)| *words);
    for (event, own) in &deaths {
        let told = event_of(event);
        assert_eq!(
            (told.type_, told.reason.as_str()),
            ("Warning", "MembersFailed")
        );
        assert!(told.note.starts_with("agent-b failed"), "{}", told.note);
        assert!(
            told.note.contains("(epoch 7); next: kubectl "),
            "{}",
            told.note
        );
        for cause in words {
            assert_eq!(told.note.contains(cause), cause == *own, "{}", told.note);
        }
    }
}

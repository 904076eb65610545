use super::*;

fn name(name: &str) -> Name {
    ("default".to_owned(), name.to_owned())
}

#[test]
fn what_vanished_while_a_watch_was_down_is_looked_at() {
    let mut seen = Seen::default();
    seen.listed.extend([name("a"), name("b")]);
    assert!(
        seen.relisted().is_empty(),
        "the first listing lacks nothing"
    );
    seen.before.insert(name("c"));
    seen.listed.extend([name("b")]);
    assert_eq!(seen.relisted(), [name("a"), name("c")]);
    seen.listed.extend([name("b")]);
    assert!(seen.relisted().is_empty(), "told once");
}

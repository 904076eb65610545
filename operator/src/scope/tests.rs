#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

#[test]
fn an_empty_list_means_everywhere() {
    for text in ["", " ", ",", " , "] {
        assert_eq!(scope(text), Scope::default());
        assert!(scope(text).contains("anything"));
        assert_eq!(scope(text).to_string(), "all");
    }
}

#[test]
fn named_namespaces_are_the_only_ones() {
    let scope = scope("team-b, team-a,team-b");
    assert_eq!(scope.to_string(), "team-a,team-b");
    assert!(scope.contains("team-a") && !scope.contains("team-c"));
}

#[test]
fn what_is_no_namespace_is_refused() {
    for text in ["Team", "a b", "-a", "a-", "a/b", &"a".repeat(64)] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
    let many: Vec<String> = (0..=NAMESPACES_MAX).map(|n| format!("n{n}")).collect();
    assert!(many.join(",").parse::<Scope>().is_err());
    assert!(many[1..].join(",").parse::<Scope>().is_ok());
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::json;

use super::*;

type View = Option<(&'static str, fn() -> Value)>;

fn wanted() -> Child {
    Child {
        api_version: "v1",
        kind: "Service",
        plural: "services",
        name: "sessions".into(),
        object: json!({
            "metadata": {"name": "sessions", "labels": {"ours": "yes"}},
            "spec": {"ports": [{"port": 7402}], "limit": "1000m"},
        }),
    }
}

/// What the API server makes of it: defaults, another spelling, and what others own.
fn stored() -> Value {
    json!({
        "metadata": {"name": "sessions", "labels": {"ours": "yes"}, "resourceVersion": "7", "generation": 3},
        "spec": {"ports": [{"port": 7402, "protocol": "TCP"}], "limit": "1", "clusterIP": "10.0.0.1"},
        "status": {"loadBalancer": {}},
    })
}

fn remembered() -> Memory {
    let mut memory = Memory::default();
    memory.applied(&wanted(), &stored());
    memory
}

fn judge(memory: &mut Memory, version: &str, object: Value) -> Judgement {
    memory.judge(&wanted(), Some((version, || object)), Instant::now())
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut object = stored();
    *object.pointer_mut(pointer).unwrap() = value;
    object
}

#[test]
fn what_was_never_applied_or_is_wanted_otherwise_is_applied() {
    let none: View = None;
    let now = Instant::now();
    assert_eq!(
        Memory::default().judge(&wanted(), none, now),
        Judgement::Apply
    );
    let mut other = wanted();
    other.object["spec"]["limit"] = json!("2");
    assert_eq!(remembered().judge(&other, none, now), Judgement::Apply);
}

#[test]
fn what_others_own_is_no_difference() {
    let mut memory = remembered();
    let mut object = stored();
    object["status"] = json!({"numberReady": 3});
    object["metadata"]["labels"]["theirs"] = json!("too");
    object["metadata"]["annotations"] = json!({"restartedAt": "now"});
    object["metadata"]["resourceVersion"] = json!("8");
    object["spec"]["clusterIP"] = json!("10.0.0.2");
    assert_eq!(judge(&mut memory, "8", object), Judgement::Sound);
}

#[test]
fn what_we_own_is_suspect_when_it_differs() {
    let cases = [
        ("/spec/ports/0/port", json!(80), "spec.ports"),
        ("/spec/limit", json!("2"), "spec.limit"),
        ("/metadata/labels/ours", json!("no"), "metadata.labels.ours"),
    ];
    for (pointer, value, path) in cases {
        let found = judge(&mut remembered(), "8", changed(pointer, value));
        let difference = path.to_owned();
        assert_eq!(found, Judgement::Suspect { difference });
    }
    let none: View = None;
    let found = remembered().judge(&wanted(), none, Instant::now());
    assert!(matches!(found, Judgement::Suspect { .. }), "{found:?}");
}

#[test]
fn a_version_found_sound_is_not_compared_again() {
    let mut memory = remembered();
    assert_eq!(judge(&mut memory, "8", stored()), Judgement::Sound);
    let view = Some(("8", || -> Value { panic!("not needed") }));
    let found = memory.judge(&wanted(), view, Instant::now());
    assert_eq!(found, Judgement::Sound);
    let found = judge(&mut memory, "9", changed("/spec/limit", json!("2")));
    assert_ne!(found, Judgement::Sound);
}

/// The cache was late: the object itself is as it was applied.
#[test]
fn a_live_look_clears_a_suspicion() {
    let memory = remembered();
    assert!(memory.is_sound(&wanted(), &stored()));
    assert!(!memory.is_sound(&wanted(), &changed("/spec/limit", json!("2"))));
}

#[test]
fn somebody_who_keeps_changing_it_is_answered_less_and_less_often() {
    let mut memory = remembered();
    let mut now = Instant::now();
    let object = || changed("/spec/limit", json!("2"));
    let mut waits = Vec::new();
    for _ in 0..9 {
        memory.corrected(&wanted(), &stored(), now);
        let Judgement::Later(wait) = memory.judge(&wanted(), Some(("8", object)), now) else {
            panic!("answered at once");
        };
        now += wait;
        let due = memory.judge(&wanted(), Some(("8", object)), now);
        assert!(matches!(due, Judgement::Suspect { .. }), "{due:?}");
        waits.push(wait.as_secs());
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 320, 320]);
    now += CORRECTIONS_FORGOTTEN;
    memory.corrected(&wanted(), &stored(), now);
    let found = memory.judge(&wanted(), Some(("8", object)), now);
    assert_eq!(found, Judgement::Later(CORRECTION_INTERVAL));
}

/// What somebody added to a list of ours is a difference; what the API server defaulted is not.
#[test]
fn our_part_is_kept_as_it_was_stored() {
    let memory = remembered();
    let ours = memory.ours(&wanted()).unwrap();
    let expected = json!({
        "metadata": {"name": "sessions", "labels": {"ours": "yes"}},
        "spec": {"ports": [{"port": 7402, "protocol": "TCP"}], "limit": "1"},
    });
    assert_eq!(*ours, expected);
    let mut more = stored();
    more["spec"]["ports"] = json!([{"port": 7402, "protocol": "TCP"}, {"port": 80}]);
    let found = judge(&mut remembered(), "8", more);
    assert!(matches!(found, Judgement::Suspect { .. }), "{found:?}");
}

#[test]
fn the_generation_is_that_of_the_last_apply() {
    assert_eq!(remembered().generation("services"), Some(3));
    assert_eq!(remembered().generation("daemonsets"), None);
}

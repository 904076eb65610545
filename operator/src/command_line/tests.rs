#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::{Task, command};

fn parse(arguments: &[&str]) -> Result<Task, clap::Error> {
    let words = ["slotmesh-operator"].iter().chain(arguments);
    Task::from_matches(&command().try_get_matches_from(words)?)
}

#[test]
fn the_command_is_sound() {
    command().debug_assert();
}

#[test]
fn without_a_subcommand_it_operates_and_needs_everything() {
    assert_eq!(parse(&[]).unwrap_err().exit_code(), 2);
    let task = parse(&[
        "--namespace=a",
        "--pod-name=b",
        "--pod-ip=10.0.0.7",
        "--agent-image=c",
    ]);
    assert!(matches!(task.unwrap(), Task::Operate(_)));
}

#[test]
fn a_check_needs_nothing_of_an_operator() {
    let task = parse(&[
        "check-install",
        "--namespace=a",
        r#"--spec={"agent":{"image":"x"}}"#,
    ]);
    let Task::CheckInstall(check) = task.unwrap() else {
        panic!("another task");
    };
    assert_eq!(check.spec["agent"]["image"], "x");
}

#[test]
fn a_wrong_check_is_refused_with_exit_code_2() {
    for wrong in [
        &["check-install"][..],
        &["check-install", "--namespace= "],
        &["check-install", "--namespace=a", "--spec=[]"],
        &["check-install", "--namespace=a", "--timeout-seconds=0"],
        &["check-install", "--namespace=a", "--pod-name=b"],
        &["--pod-name=b", "check-install", "--namespace=a"],
    ] {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

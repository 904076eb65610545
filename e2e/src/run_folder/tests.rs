//! Leftovers: only what is surely ours is ended or removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::process::{Child, Command};

use super::leftovers::{Machine, clean_leftovers_in, start_time};
use super::*;

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

fn run_in(runs: &Path) -> Result<RunFolder> {
    RunFolder::create_in(runs, &runs.join("kept"))
}

/// A folder as a run leaves it whose owner is gone.
fn crashed(runs: &Path, children: &str, machine: &str) -> PathBuf {
    let mut gone = Command::new("true").spawn().unwrap();
    let path = runs.join(format!("{}-1-0", gone.id()));
    gone.wait().unwrap();
    fs::create_dir_all(path.join("logs")).unwrap();
    fs::write(path.join("children"), children).unwrap();
    fs::write(path.join("machine"), machine).unwrap();
    path
}

#[test]
fn children_of_a_crashed_run_are_ended_and_named() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = sleeper();
    let started = start_time(child.id()).unwrap();
    let path = crashed(
        runs.path(),
        &format!("{} {started} etcd\n", child.id()),
        &Machine::here().to_string(),
    );
    let done = clean_leftovers_in(runs.path()).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(
        done,
        [
            format!("ended etcd (pid {}), left by a crashed run", child.id()),
            format!("removed {}, left by a crashed run", path.display()),
        ]
    );
    assert!(!path.exists());
}

#[test]
fn a_stranger_with_the_number_of_a_child_is_left_alone() {
    let runs = tempfile::tempdir().unwrap();
    let mut stranger = sleeper();
    let started = start_time(stranger.id()).unwrap();
    let list = format!("{} {} etcd\n", stranger.id(), started + 1);
    let path = crashed(runs.path(), &list, &Machine::here().to_string());
    // The same number and start time, but from before a reboot.
    let list = format!("{} {started} etcd\n", stranger.id());
    let rebooted = Machine {
        boot: "another boot".into(),
        ..Machine::here()
    };
    let before = crashed(runs.path(), &list, &rebooted.to_string());
    assert_eq!(clean_leftovers_in(runs.path()).unwrap().len(), 2);
    assert!(!path.exists() && !before.exists());
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "a stranger was killed"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn runs_of_other_containers_and_machines_and_living_runs_are_left_alone() {
    let runs = tempfile::tempdir().unwrap();
    let container = Machine {
        namespace: "pid:[1]".into(),
        ..Machine::here()
    };
    let machine = Machine {
        boot: "the boot of another machine".into(),
        id: Some("another machine".into()),
        ..Machine::here()
    };
    let one_that_does_not_say = "the boot of a machine\npid:[1]\n";
    let others = [
        crashed(runs.path(), "", &container.to_string()),
        crashed(runs.path(), "", &machine.to_string()),
        crashed(runs.path(), "", one_that_does_not_say),
        // Being made, perhaps on another machine.
        crashed(runs.path(), "", ""),
    ];
    let own = run_in(runs.path()).unwrap();
    let second = run_in(runs.path()).unwrap();
    assert_eq!(
        clean_leftovers_in(runs.path()).unwrap(),
        Vec::<String>::new()
    );
    assert!(others.iter().all(|other| other.exists()));
    assert!(own.path().exists() && second.path().exists());
}

#[test]
fn a_run_whose_owner_died_while_it_was_made_is_removed_once_nobody_can_be_at_it() {
    let runs = tempfile::tempdir().unwrap();
    let half_made = crashed(runs.path(), "", "");
    assert_eq!(clean_leftovers_in(runs.path()).unwrap().len(), 0);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    let folder = fs::File::open(&half_made).unwrap();
    folder.set_modified(long_ago).unwrap();
    assert_eq!(clean_leftovers_in(runs.path()).unwrap().len(), 1);
    assert!(!half_made.exists());
}

#[test]
fn the_end_of_a_run_ends_its_children_and_leaves_no_file() {
    let runs = tempfile::tempdir().unwrap();
    let run = run_in(runs.path()).unwrap();
    let mut child = sleeper();
    let pid = i32::try_from(child.id()).unwrap();
    note_child(&run.children_file(), pid, "sleep").unwrap();
    drop(run);
    assert!(!child.wait().unwrap().success());
    assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn only_names_of_this_run_are_registered() {
    let runs = tempfile::tempdir().unwrap();
    let run = run_in(runs.path()).unwrap();
    let foreign = Resource::Link("eth0".into());
    assert!(run.register(&foreign).is_err());
    let own = Resource::NetworkNamespace(format!("{}-node-1", run.tag()));
    run.register(&own).unwrap();
    let list = fs::read_to_string(run.path().join("resources")).unwrap();
    assert_eq!(list, format!("{own}\n"));
}

#[test]
fn a_network_namespace_of_a_crashed_run_is_removed() {
    let runs = tempfile::tempdir().unwrap();
    let path = crashed(runs.path(), "", &Machine::here().to_string());
    let name = format!("{}-node-1", resource::tag_of(&path));
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: network namespaces cannot be made here (needs root and iproute2)");
        return;
    }
    fs::write(path.join("resources"), format!("netns {name}\n")).unwrap();
    let done = clean_leftovers_in(runs.path()).unwrap();
    assert!(done.contains(&format!("removed netns {name}, left by a crashed run")));
    assert!(!Path::new("/run/netns").join(&name).exists());
}

#[test]
fn a_network_is_claimed_once_and_given_back() {
    let first = Network::claim().unwrap();
    let second = Network::claim().unwrap();
    assert_ne!(first.number(), second.number());
    // The claim is the kernel's: another folder, user or process changes nothing.
    let address = (std::net::Ipv4Addr::new(127, first.number(), 255, 254), 7400);
    assert!(std::net::UdpSocket::bind(address).is_err());
    drop(first);
    assert!(std::net::UdpSocket::bind(address).is_ok());
}

#[test]
fn logs_of_several_runs_of_one_process_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for text in ["first", "second"] {
        // The number in the folder's name is free again once the first is gone.
        let run = run_in(&folder.path().join("runs")).unwrap();
        fs::write(run.log_file("etcd"), text).unwrap();
        kept.push(run.keep_logs().unwrap());
    }
    let text = |path: &PathBuf| fs::read_to_string(path.join("etcd.log")).unwrap();
    assert_eq!(
        kept.iter().map(text).collect::<Vec<_>>(),
        ["first", "second"]
    );
}

#[test]
fn logs_of_a_program_that_panics_are_kept() {
    let runs = tempfile::tempdir().unwrap();
    let path = runs.path().to_owned();
    let fallen = std::thread::spawn(move || {
        let run = run_in(&path).unwrap();
        fs::write(run.log_file("etcd"), "what it said").unwrap();
        panic!("a story fell over");
    });
    assert!(fallen.join().is_err());
    let kept: Vec<PathBuf> = fs::read_dir(runs.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(kept, [runs.path().join("kept")], "the run is left");
    let logs = fs::read_dir(&kept[0]).unwrap().next().unwrap().unwrap();
    let said = fs::read_to_string(logs.path().join("etcd.log")).unwrap();
    assert_eq!(said, "what it said");
    // Without a panic nothing is kept.
    drop(run_in(runs.path()).unwrap());
    assert_eq!(fs::read_dir(&kept[0]).unwrap().count(), 1);
}

#[test]
fn a_running_child_is_found_by_its_name() {
    let runs = tempfile::tempdir().unwrap();
    let run = run_in(runs.path()).unwrap();
    let mut older = sleeper();
    let mut newer = sleeper();
    for child in [&older, &newer] {
        note_child(&run.children_file(), child.id().cast_signed(), "agent").unwrap();
    }
    assert_eq!(run.running_child("agent"), Some(newer.id()));
    newer.kill().unwrap();
    newer.wait().unwrap();
    assert_eq!(run.running_child("agent"), Some(older.id()));
    assert_eq!(run.running_child("another"), None);
    older.kill().unwrap();
    older.wait().unwrap();
}

//! Each validation rule of the CRDs, tried against the real API server: accepted and refused.

mod bounds;
mod clusters;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::control_plane::Complaint;
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_USER, Stage};

/// A cluster of no agents, for tries at its status.
const STATUS: &str = "status";

fn cluster(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "slotmesh.dev/v1alpha1", "kind": "GossipCluster",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

pub fn cell(change: impl FnOnce(&mut Value)) -> Value {
    let uid = "6f1c2d3e-0000-4000-8000-000000000001";
    let key = "A".repeat(43) + "=";
    let mut spec = json!({
        "clusterRef": {"name": "c", "uid": uid}, "era": 1, "epoch": 10, "slots": "0-16383",
        "protocol": {"wireVersion": 1, "mode": "Affinity", "heartbeatIntervalMilliseconds": 200, "observers": 10, "verdictPercent": 70},
        "members": [{"name": "a", "uid": uid, "incarnation": 5, "key": key, "node": "n", "zone": "z", "address": "10.0.0.1:7400", "failed": false,
            "owners": [{"name": "a", "uid": uid, "address": "10.0.0.1:7402", "capacity": 100, "slots": "0-16383"}]}],
        "delegation": [{"cell": "c-a", "slots": "0-16383", "firstMapSha256": key, "startEpoch": 11}],
        "directory": [{"cell": "c-b", "slots": "", "entries": ["10.0.0.2:7402"]}],
        "seal": key,
    });
    change(&mut spec);
    json!({
        "apiVersion": "slotmesh.dev/v1alpha1", "kind": "GossipCell",
        "metadata": {"name": "rules", "namespace": NAMESPACE}, "spec": spec,
    })
}

pub async fn play(stage: &Stage) -> Result<()> {
    let of_a_service = Some("must begin with a letter and hold only");
    let names = [
        ("a name of 40", "x".repeat(40), None),
        ("a name of 41", "x".repeat(41), Some("must be at most 40")),
        ("a name of one letter", "x".to_owned(), None),
        ("a name with digits and -", "a-1b2".to_owned(), None),
        ("a name with a dot", "a.b".to_owned(), of_a_service),
        (
            "a name that begins with a digit",
            "1a".to_owned(),
            of_a_service,
        ),
    ];
    for (what, name, refused) in names {
        let object = cluster(&name, json!({}));
        try_it(stage, "create", &object, true, what, refused).await?;
    }
    for (what, spec, refused) in clusters::cases() {
        try_it(stage, "create", &cluster("a", spec), true, what, refused).await?;
    }

    let cells = [
        ("a sound record", cell(|_| {}), None),
        (
            "mode Exclusive, not yet",
            cell(|s| s["protocol"]["mode"] = "Exclusive".into()),
            Some("spec.protocol.mode: Unsupported value: \"Exclusive\""),
        ),
        (
            "a short seal",
            cell(|s| s["seal"] = "x".into()),
            Some("spec.seal in body should be at least 44 chars long"),
        ),
        (
            "a negative era",
            cell(|s| s["era"] = (-1).into()),
            Some("spec.era in body should be greater than or equal to 0"),
        ),
        (
            "epoch 0",
            cell(|s| s["epoch"] = 0.into()),
            Some("spec.epoch in body should be greater than or equal to 1"),
        ),
        (
            "capacity above 10000",
            cell(|s| s["members"][0]["owners"][0]["capacity"] = 10_001.into()),
            Some(
                "spec.members[0].owners[0].capacity in body should be less than or equal to 10000",
            ),
        ),
    ];
    for (what, object, refused) in cells {
        try_it(stage, "create", &object, true, what, refused).await?;
    }

    let whole = cluster("a", clusters::whole());
    try_it(stage, "create", &whole, true, "every field", None).await?;
    // Statuses need an object that stays, of which nobody makes anything.
    let nowhere = json!({"agent": {"nodeSelector": {"nobody": "is-here"}}});
    stage.apply_cluster(STATUS, &nowhere).await?;
    let mut whole = cluster(STATUS, clusters::whole());
    whole["status"] = clusters::whole_status();
    let (accepted, refused) = bounds::try_all(stage, &whole, &cell(|_| {})).await?;
    println!("  bounds of the schemas: {accepted} objects accepted, {refused} refused");

    // Transitions need an object that stays; nobody runs a cluster of that name.
    try_it(stage, "create", &cell(|_| {}), false, "a record", None).await?;
    let steps = [
        ("the same again", cell(|_| {}), None),
        (
            "other content at the same epoch",
            cell(|s| s["slots"] = "0-9".into()),
            Some("higher (era, epoch)"),
        ),
        (
            "a lower epoch",
            cell(|s| s["epoch"] = 9.into()),
            Some("higher (era, epoch)"),
        ),
        (
            "a lower era",
            cell(|s| {
                s["era"] = 0.into();
                s["epoch"] = 99.into();
            }),
            Some("higher (era, epoch)"),
        ),
        (
            "another cluster",
            cell(|s| {
                s["epoch"] = 11.into();
                s["clusterRef"]["name"] = "d".into();
            }),
            Some("clusterRef is immutable"),
        ),
        ("a higher epoch", cell(|s| s["epoch"] = 11.into()), None),
        (
            "a higher era with a lower epoch",
            cell(|s| {
                s["era"] = 2.into();
                s["epoch"] = 1.into();
            }),
            None,
        ),
    ];
    for (what, object, refused) in steps {
        try_it(stage, "replace", &object, false, what, refused).await?;
    }
    shown(stage).await?;
    stage
        .plane
        .kubectl(&["delete", "gossip", STATUS, "-n", NAMESPACE])
        .await?;
    let delete = ["delete", "gcell", "rules", "-n", NAMESPACE];
    let delete = [&delete[..], &["--as", OPERATOR_USER]].concat();
    stage.plane.kubectl(&delete).await?;
    Ok(())
}

/// What a user reads of the kinds: that ownership is best effort, and the columns.
async fn shown(stage: &Stage) -> Result<()> {
    for kind in ["gossipcluster", "gossipcell"] {
        let said = stage.plane.kubectl(&["explain", kind]).await?;
        // Lines are wrapped somewhere.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let promises = said.to_lowercase().contains("best effort");
        ensure!(promises, "{kind} is explained without best effort: {said}");
    }
    for (arguments, columns) in [
        (
            &["get", "gossip"][..],
            "NAME READY MEMBERS OWNERS SERVED CELLS REASON AGE",
        ),
        (
            &["get", "gossip", "-o", "wide"],
            "NAME READY MEMBERS OWNERS SERVED CELLS REASON AGE DESIRED FAILED EPOCH MODE MESSAGE",
        ),
        (&["get", "gcell"], "NAME CLUSTER EPOCH SLOTS MODE AGE"),
    ] {
        let said = stage.plane.kubectl(arguments).await?;
        let first = said.lines().next().unwrap_or_default();
        let found = first.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(found == columns, "{arguments:?} shows {found}");
    }
    println!("  explained and shown as promised");
    Ok(())
}

async fn try_it(
    stage: &Stage,
    verb: &str,
    object: &Value,
    dry: bool,
    what: &str,
    refused: Option<&str>,
) -> Result<()> {
    // From a pipe: whatever kubectl says of a file has its path in it.
    let mut arguments = vec![verb, "-f", "-", "--validate=strict"];
    if dry {
        arguments.push("--dry-run=server");
    }
    // A record is the operator's: the policy lets nobody else write one.
    if object["kind"] == "GossipCell" {
        arguments.extend(["--as", OPERATOR_USER]);
    }
    let plane = &stage.plane;
    let answer = plane
        .kubectl_with_input(&arguments, &object.to_string())
        .await;
    match (answer, refused) {
        (Ok(_), None) => println!("  accepted: {what}"),
        (Err(error), Some(expected)) => {
            // Its own words alone: the command and the paths of logs hold half of ours.
            let said = error.downcast_ref::<Complaint>().map(|it| &it.said);
            ensure!(
                said.is_some_and(|said| said.contains(expected)),
                "{what}: refused for another reason than {expected:?}: {error:#}"
            );
            println!("  refused:  {what}");
        }
        (Ok(_), Some(_)) => anyhow::bail!("{what}: accepted"),
        (Err(error), None) => anyhow::bail!("{what}: {error:#}"),
    }
    Ok(())
}

//! Every bound that the schemas name, tried against the real API server: its last value is accepted,
//! one beyond it is refused. The bounds are read from the generated schemas themselves, so that none
//! can be forgotten.

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use slotmesh_api::{GossipCell, GossipCluster, crds};
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_USER, Stage};

/// One attempt: what, the object, and whether it is to be accepted.
struct Attempt {
    what: String,
    object: Value,
    accepted: bool,
}

/// Tries the bounds of both kinds; returns how many objects were accepted and refused.
pub async fn try_all(stage: &Stage, cluster: &Value, cell: &Value) -> Result<(usize, usize)> {
    let (mut accepted, mut refused) = (0, 0);
    let resources = [
        ApiResource::erase::<GossipCluster>(&()),
        ApiResource::erase::<GossipCell>(&()),
    ];
    for ((_, definition), (resource, sound)) in crds::all()
        .into_iter()
        .zip(resources.iter().zip([cluster, cell]))
    {
        ensure!(
            definition.spec.names.kind == resource.kind,
            "kinds in another order"
        );
        let schema = serde_json::to_value(
            &definition
                .spec
                .versions
                .first()
                .context("no version")?
                .schema,
        )?;
        let mut attempts = Vec::new();
        let schema = &schema["openAPIV3Schema"]["properties"]["spec"];
        walk(schema, "/spec", sound, &mut attempts)?;
        ensure!(
            !attempts.is_empty(),
            "{} has no bound at all",
            resource.kind
        );
        // A record is the operator's: the policy lets nobody else write one.
        let client = match resource.kind.as_str() {
            "GossipCell" => stage.plane.client_as(OPERATOR_USER).await?,
            _ => stage.plane.client(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, resource);
        for attempt in attempts {
            if attempt.accepted {
                accepted += 1
            } else {
                refused += 1
            }
            try_one(&api, &resource.kind, attempt).await?;
        }
    }
    Ok((accepted, refused))
}

async fn try_one(api: &Api<DynamicObject>, kind: &str, attempt: Attempt) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(attempt.object)?;
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let what = format!("{kind} {}", attempt.what);
    match (api.create(&parameters, &object).await, attempt.accepted) {
        (Ok(_), true) => Ok(()),
        (Ok(_), false) => bail!("{what}: accepted"),
        (Err(kube::Error::Api(status)), false) if status.code == 422 => {
            // The complaint names the field, and so it is this bound that refused it.
            let field = attempt.what.split(' ').next().unwrap_or_default();
            let field = field
                .trim_start_matches('/')
                .replace("/0", "")
                .replace('/', ".");
            let message = status.message.replace("[0]", "");
            ensure!(
                message.contains(&field),
                "{what}: refused for another reason: {message}"
            );
            Ok(())
        }
        (Err(error), _) => bail!("{what}: {error}"),
    }
}

/// Attempts at the bounds of one part of the schema and of everything in it.
fn walk(schema: &Value, at: &str, sound: &Value, attempts: &mut Vec<Attempt>) -> Result<()> {
    let mut add = |what: &str, value: Option<Value>, accepted: bool| -> Result<()> {
        attempts.push(Attempt {
            what: format!("{at} {what}"),
            object: with(sound, at, value)?,
            accepted,
        });
        Ok(())
    };
    let number = |name: &str| schema[name].as_f64();
    let size = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    for (bound, step) in [("minimum", -1.0), ("maximum", 1.0)] {
        if let Some(limit) = number(bound) {
            #[expect(clippy::cast_possible_truncation, reason = "bounds are integers")]
            let integer = |value: f64| Some(json!(value as i64));
            add(bound, integer(limit), true)?;
            add(&format!("beyond {bound}"), integer(limit + step), false)?;
        }
    }
    let text = |length: usize| Some(json!("x".repeat(length)));
    if let Some(limit) = size("minLength") {
        add("minLength", text(limit), true)?;
        add("below minLength", text(limit - 1), false)?;
    }
    if let Some(limit) = size("maxLength") {
        add("maxLength", text(limit), true)?;
        add("above maxLength", text(limit + 1), false)?;
    }
    if let Some(limit) = size("maxItems") {
        let item = sound
            .pointer(&format!("{at}/0"))
            .context("a list without an item")?;
        let items = |count: usize| Some(Value::Array(vec![item.clone(); count]));
        add("maxItems", items(limit), true)?;
        add("above maxItems", items(limit + 1), false)?;
    }
    if let Some(values) = schema["enum"].as_array() {
        for value in values.iter().filter(|value| !value.is_null()) {
            add(&format!("= {value}"), Some(value.clone()), true)?;
        }
        add("= anything else", Some(json!("Anything")), false)?;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().context("a name that is no text")?;
        attempts.push(Attempt {
            what: format!("{at}/{name} missing"),
            object: with(sound, &format!("{at}/{name}"), None)?,
            accepted: false,
        });
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        walk(part, &format!("{at}/{name}"), sound, attempts)?;
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{at}/0"), sound, attempts)?;
    }
    Ok(())
}

/// The sound object with another value, or none, in one place. That the place exists there is checked:
/// a bound of a field that the sound object lacks would be tried in vain.
fn with(sound: &Value, at: &str, value: Option<Value>) -> Result<Value> {
    let mut object = sound.clone();
    let place = object
        .pointer_mut(at)
        .with_context(|| format!("the sound object has no {at}: add it"))?;
    match value {
        Some(value) => *place = value,
        None => {
            let (parent, name) = at.rsplit_once('/').context("no parent")?;
            let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
            parent.context("a parent that is no object")?.remove(name);
        }
    }
    Ok(object)
}

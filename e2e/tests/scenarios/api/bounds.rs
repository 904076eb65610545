//! Every bound that the schemas name, tried against the real API server: its last value is accepted,
//! one beyond it is refused. The bounds are read from the generated schemas themselves, so that none
//! can be forgotten, and a rule of a kind that is not known here fails.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use slotmesh_api::{GossipCell, GossipCluster, crds};
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_USER, Stage};

/// What says nothing of which values are accepted.
const NO_RULES: [&str; 8] = [
    "default",
    "description",
    "nullable",
    "title",
    // Of numbers and times; a number of the wrong size is beyond the bounds that are there.
    "format",
    // How appliers of parts share a list.
    "x-kubernetes-list-type",
    // What has it has no type, and what that means is tried by hand.
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
];
/// What is tried below.
const TRIED: [&str; 12] = [
    "type",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
    "enum",
    "required",
    "x-kubernetes-list-map-keys",
    "items",
    "properties",
    "additionalProperties",
];
/// Rules that no generator of values can try: where they are, and what tries them.
const BY_HAND: [(&str, &str, &str, &str); 5] = [
    // Kind, place, rule, and where it is tried.
    (
        "GossipCluster",
        "",
        "x-kubernetes-validations",
        "names of clusters",
    ),
    (
        "GossipCluster",
        "/spec/agent/update/maxSurge",
        "x-kubernetes-validations",
        "surges",
    ),
    (
        "GossipCluster",
        "/spec/agent/resources/requests/cpu",
        "pattern",
        "resources",
    ),
    (
        "GossipCluster",
        "/spec/agent/resources/limits/memory",
        "pattern",
        "resources",
    ),
    (
        "GossipCell",
        "/spec",
        "x-kubernetes-validations",
        "steps of a record",
    ),
];

/// One attempt: what, the object, and whether it is to be accepted.
struct Attempt {
    what: String,
    object: Value,
    accepted: bool,
}

/// Tries the bounds of both kinds; returns how many objects were accepted and refused. The sound cluster
/// bears the name of one that exists, for its status.
pub async fn try_all(stage: &Stage, cluster: &Value, cell: &Value) -> Result<(usize, usize)> {
    let (mut accepted, mut refused) = (0, 0);
    let resources = [
        ApiResource::erase::<GossipCluster>(&()),
        ApiResource::erase::<GossipCell>(&()),
    ];
    let mut by_hand = BTreeSet::from(BY_HAND.map(|(kind, at, rule, _)| (kind, at, rule)));
    // A record and a status are the operator's: the policy lets nobody else write one.
    let operator = stage.plane.client_as(OPERATOR_USER).await?;
    for ((_, definition), (resource, sound)) in crds::all()
        .into_iter()
        .zip(resources.iter().zip([cluster, cell]))
    {
        let kind = resource.kind.as_str();
        ensure!(definition.spec.names.kind == kind, "kinds in another order");
        let version = definition.spec.versions.first().context("no version")?;
        let schema = serde_json::to_value(&version.schema)?;
        let schema = &schema["openAPIV3Schema"];
        let mut walk = Walk {
            kind,
            sound,
            attempts: Vec::new(),
            by_hand: &mut by_hand,
        };
        walk.visit(schema, "")?;
        let attempts = walk.attempts;
        ensure!(!attempts.is_empty(), "{kind} has no bound at all");
        let of = |client| Api::namespaced_with(client, NAMESPACE, resource);
        let by_operator: Api<DynamicObject> = of(operator.clone());
        let by_user = of(stage.plane.client());
        for attempt in attempts {
            if attempt.accepted {
                accepted += 1
            } else {
                refused += 1
            }
            // And nobody but users makes clusters.
            let is_operators = kind == "GossipCell" || attempt.what.starts_with("/status");
            let api = if is_operators { &by_operator } else { &by_user };
            try_one(api, kind, attempt).await?;
        }
    }
    ensure!(
        by_hand.is_empty(),
        "said to be tried by hand, and not there: {by_hand:?}"
    );
    Ok((accepted, refused))
}

async fn try_one(api: &Api<DynamicObject>, kind: &str, attempt: Attempt) -> Result<()> {
    let what = format!("{kind} {}", attempt.what);
    let answer = if attempt.what.starts_with("/status") {
        replace_status(api, &attempt.object).await?
    } else {
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let mut object: DynamicObject = serde_json::from_value(attempt.object)?;
        // Another one of that name exists.
        object.metadata.name = object.metadata.name.map(|name| format!("{name}-tried"));
        api.create(&parameters, &object).await
    };
    match (answer, attempt.accepted) {
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

/// Tries a status on the object that is there. Replaced and not patched: what a patch leaves out stays
/// as it was, and the operator may not.
async fn replace_status(
    api: &Api<DynamicObject>,
    tried: &Value,
) -> Result<kube::Result<DynamicObject>> {
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let name = tried["metadata"]["name"].as_str().context("no name")?;
    loop {
        let mut object = api.get(name).await?;
        object.data["status"] = tried["status"].clone();
        match api.replace_status(name, &parameters, &object).await {
            // The operator has written meanwhile.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => return Ok(answer),
        }
    }
}

/// A walk through the schema of one kind.
struct Walk<'a> {
    kind: &'a str,
    sound: &'a Value,
    attempts: Vec<Attempt>,
    by_hand: &'a mut BTreeSet<(&'static str, &'static str, &'static str)>,
}

impl Walk<'_> {
    /// Attempts at the bounds of one part of the schema and of everything in it.
    fn visit(&mut self, schema: &Value, at: &str) -> Result<()> {
        self.know(schema, at)?;
        self.numbers(schema, at)?;
        self.texts(schema, at)?;
        self.lists(schema, at)?;
        // The root and its name are what every object has.
        if !at.is_empty() {
            self.types(schema, at)?;
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().context("a name that is no text")?;
            let at = format!("{at}/{name}");
            self.attempts.push(Attempt {
                what: format!("{at} missing"),
                object: with(self.sound, &at, None)?,
                accepted: false,
            });
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            // Every kind of Kubernetes has these.
            if !(at.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str())) {
                self.visit(part, &format!("{at}/{name}"))?;
            }
        }
        if schema["items"].is_object() {
            self.visit(&schema["items"], &format!("{at}/0"))?;
        }
        if schema["additionalProperties"].is_object() {
            let entries = self.sound.pointer(at).and_then(Value::as_object);
            let name = entries.and_then(|entries| entries.keys().next());
            let name = name.with_context(|| format!("the sound object has nothing in {at}"))?;
            self.visit(&schema["additionalProperties"], &format!("{at}/{name}"))?;
        }
        Ok(())
    }

    /// Fails at a rule that nothing tries.
    fn know(&mut self, schema: &Value, at: &str) -> Result<()> {
        for rule in schema.as_object().context("no schema")?.keys() {
            let rule = rule.as_str();
            let known = NO_RULES.contains(&rule) || TRIED.contains(&rule);
            let mut hands = BY_HAND.iter();
            let hand = hands.find(|hand| (hand.0, hand.1, hand.2) == (self.kind, at, rule));
            if let Some((kind, at, rule, _)) = hand {
                self.by_hand.remove(&(*kind, *at, *rule));
            }
            ensure!(
                known || hand.is_some(),
                "{} {at} has the rule {rule}, which nothing tries",
                self.kind
            );
        }
        Ok(())
    }

    fn add(&mut self, at: &str, what: &str, value: Value, accepted: bool) -> Result<()> {
        self.attempts.push(Attempt {
            what: format!("{at} {what}"),
            object: with(self.sound, at, Some(value))?,
            accepted,
        });
        Ok(())
    }

    fn types(&mut self, schema: &Value, at: &str) -> Result<()> {
        let Some(kind) = schema["type"].as_str() else {
            return Ok(());
        };
        let other = match kind {
            "string" | "object" => json!(7),
            _ => json!("x"),
        };
        self.add(at, &format!("of another type than {kind}"), other, false)
    }

    fn numbers(&mut self, schema: &Value, at: &str) -> Result<()> {
        for (bound, step) in [("minimum", -1.0), ("maximum", 1.0)] {
            if let Some(limit) = schema[bound].as_f64() {
                #[expect(clippy::cast_possible_truncation, reason = "bounds are integers")]
                let integer = |value: f64| json!(value as i64);
                self.add(at, bound, integer(limit), true)?;
                self.add(at, &format!("beyond {bound}"), integer(limit + step), false)?;
            }
        }
        Ok(())
    }

    fn texts(&mut self, schema: &Value, at: &str) -> Result<()> {
        let text = |length: usize| json!("x".repeat(length));
        if let Some(limit) = size(schema, "minLength") {
            self.add(at, "minLength", text(limit), true)?;
            self.add(at, "below minLength", text(limit - 1), false)?;
        }
        if let Some(limit) = size(schema, "maxLength") {
            self.add(at, "maxLength", text(limit), true)?;
            self.add(at, "above maxLength", text(limit + 1), false)?;
        }
        if let Some(values) = schema["enum"].as_array() {
            for value in values.iter().filter(|value| !value.is_null()) {
                self.add(at, &format!("= {value}"), value.clone(), true)?;
            }
            self.add(at, "= anything else", json!("Anything"), false)?;
        }
        Ok(())
    }

    fn lists(&mut self, schema: &Value, at: &str) -> Result<()> {
        let key = schema["x-kubernetes-list-map-keys"].as_array();
        let key = key.and_then(|keys| keys.first()?.as_str());
        let limit = size(schema, "maxItems");
        if key.is_none() && limit.is_none() {
            return Ok(());
        }
        let item = self.sound.pointer(&format!("{at}/0")).cloned();
        let item = item.context("a list without an item")?;
        if key.is_some() {
            let twice = Value::Array(vec![item.clone(); 2]);
            self.add(at, "with one key twice", twice, false)?;
        }
        let Some(limit) = limit else {
            return Ok(());
        };
        let items = |count: usize| {
            let mut items = vec![item.clone(); count];
            if let Some(key) = key {
                for (number, item) in items.iter_mut().enumerate() {
                    item[key] = format!("Key{number}").into();
                }
            }
            Value::Array(items)
        };
        self.add(at, "maxItems", items(limit), true)?;
        self.add(at, "above maxItems", items(limit + 1), false)
    }
}

fn size(schema: &Value, name: &str) -> Option<usize> {
    schema[name].as_u64().and_then(|n| usize::try_from(n).ok())
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

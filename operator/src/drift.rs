//! Whether a child is still what the operator made of it. After each apply the part of the object that
//! is ours is remembered as the API server stored it, defaults and spellings included; what the watch
//! shows later is compared with that. So what others own (a status, an annotation, a label of their
//! own) never makes the operator write, and what it owns always comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::children::Child;

/// Time between a correction of a child and the next. It doubles with each: somebody who keeps changing
/// it back, say another controller, costs less and less.
const CORRECTION_INTERVAL: Duration = Duration::from_secs(5);
/// How often it doubles: up to 320 s.
const DOUBLINGS_MAX: u32 = 6;
/// Corrections that lie so far back are forgotten.
const CORRECTIONS_FORGOTTEN: Duration = Duration::from_secs(900);

/// What is known of the children of one cluster.
#[derive(Debug, Default)]
pub struct Memory {
    /// By plural: a cluster has one child of each kind.
    children: BTreeMap<&'static str, Applied>,
}

/// A child right after it was applied.
#[derive(Debug)]
struct Applied {
    wanted: Child,
    /// Our part of it.
    ours: Value,
    /// `metadata.resourceVersion` at which it was last found to be sound.
    sound_at: Option<String>,
    corrected: Option<Corrected>,
    /// `metadata.generation`, of kinds that have one.
    generation: Option<i64>,
}

/// Corrections of a child that lie not far apart.
#[derive(Clone, Copy, Debug)]
struct Corrected {
    last: Instant,
    /// How many there were before the last.
    before: u32,
}

/// What is to be done about a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Sound,
    /// It was never applied, or something else is wanted now.
    Apply,
    /// The cache shows something else than was applied. A cache can be late: look at it live.
    Suspect {
        /// What differs.
        difference: String,
    },
    /// It differs, but was corrected only now.
    Later(Duration),
}

impl Memory {
    /// Judges a child by what the cache shows of it: its resourceVersion, and the object itself, which
    /// is asked for only when that is a new one.
    pub fn judge<O: FnOnce() -> Value>(
        &mut self,
        wanted: &Child,
        cached: Option<(&str, O)>,
        now: Instant,
    ) -> Judgement {
        let Some(applied) = self.children.get_mut(wanted.plural) else {
            return Judgement::Apply;
        };
        if applied.wanted != *wanted {
            return Judgement::Apply;
        }
        let difference = match cached {
            Some((version, _)) if applied.sound_at.as_deref() == Some(version) => None,
            Some((version, object)) => {
                let difference = first_difference(&applied.ours, &part(&wanted.object, &object()));
                if difference.is_none() {
                    applied.sound_at = Some(version.to_owned());
                }
                difference
            }
            None => Some("it is not there".to_owned()),
        };
        let Some(difference) = difference else {
            return Judgement::Sound;
        };
        match applied.corrected.map(|corrected| corrected.wait(now)) {
            Some(wait) if !wait.is_zero() => Judgement::Later(wait),
            _ => Judgement::Suspect { difference },
        }
    }

    /// Whether a child of that kind was applied.
    #[must_use]
    pub fn knows(&self, plural: &str) -> bool {
        self.children.contains_key(plural)
    }

    /// `metadata.generation` of a child as it was last applied.
    #[must_use]
    pub fn generation(&self, plural: &str) -> Option<i64> {
        self.children.get(plural)?.generation
    }

    /// Whether a live look shows what was applied.
    #[must_use]
    pub fn is_sound(&self, wanted: &Child, live: &Value) -> bool {
        self.children
            .get(wanted.plural)
            .is_some_and(|applied| part(&wanted.object, live) == applied.ours)
    }

    /// What the API server made of our part when it was last applied.
    #[must_use]
    pub fn ours(&self, wanted: &Child) -> Option<&Value> {
        Some(&self.children.get(wanted.plural)?.ours)
    }

    /// It was applied, and this is what the API server made of it.
    pub fn applied(&mut self, wanted: &Child, stored: &Value) {
        let applied = Applied {
            wanted: wanted.clone(),
            ours: part(&wanted.object, stored),
            sound_at: None,
            corrected: None,
            generation: stored
                .pointer("/metadata/generation")
                .and_then(Value::as_i64),
        };
        self.children.insert(wanted.plural, applied);
    }

    /// The same, after somebody had changed it.
    pub fn corrected(&mut self, wanted: &Child, stored: &Value, now: Instant) {
        let known = self.children.get(wanted.plural);
        let earlier = known.and_then(|applied| applied.corrected);
        self.applied(wanted, stored);
        if let Some(applied) = self.children.get_mut(wanted.plural) {
            applied.corrected = Some(Corrected::after(earlier, now));
        }
    }
}

impl Corrected {
    fn after(earlier: Option<Self>, now: Instant) -> Self {
        let near = |it: &Self| now.saturating_duration_since(it.last) < CORRECTIONS_FORGOTTEN;
        let before = earlier.filter(near).map_or(0, |it| it.before + 1);
        Self { last: now, before }
    }

    /// How long the next correction has to wait.
    fn wait(&self, now: Instant) -> Duration {
        let interval = CORRECTION_INTERVAL * (1 << self.before.min(DOUBLINGS_MAX));
        interval.saturating_sub(now.saturating_duration_since(self.last))
    }
}

/// The part of a stored object that we own: the fields of `wanted`, lists as a whole.
fn part(wanted: &Value, stored: &Value) -> Value {
    match (wanted, stored) {
        (Value::Object(wanted), Value::Object(stored)) => wanted
            .iter()
            .filter_map(|(name, wanted)| {
                let stored = stored.get(name)?;
                Some((name.clone(), part(wanted, stored)))
            })
            .collect(),
        (_, stored) => stored.clone(),
    }
}

/// Path of the first difference.
fn first_difference(ours: &Value, found: &Value) -> Option<String> {
    if ours == found {
        return None;
    }
    let (Value::Object(ours), Value::Object(found)) = (ours, found) else {
        return Some(String::new());
    };
    let name = ours
        .keys()
        .chain(found.keys())
        .find(|name| ours.get(*name) != found.get(*name))?;
    let rest = match (ours.get(name), found.get(name)) {
        (Some(ours), Some(found)) => first_difference(ours, found).unwrap_or_default(),
        _ => String::new(),
    };
    Some(if rest.is_empty() {
        name.clone()
    } else {
        format!("{name}.{rest}")
    })
}

#[cfg(test)]
mod tests;

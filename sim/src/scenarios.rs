//! The scenarios that are built in, and those in files.

use anyhow::{Context, Result, anyhow};
use slotmesh_mesh::sim::scenario::{Scenario, parse};

/// Bytes of a scenario file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each.
        pub const BUILT_IN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../mesh/scenarios/", $name, ".txt")))),*
        ];
    };
}

built_in!(
    "steady-1000",
    "crash-10",
    "crash-100",
    "crash-1000",
    "crash-5000",
    "loss-each-way",
    "stalls-short",
    "stalls-long",
    "lifeguard-grid-point",
    "rapid-lose-in",
    "rapid-lose-out",
    "rapid-flapping-cut",
    "mass-death-33",
    "mass-death-49",
    "zone-cut",
    "flapping-switch",
    "flapping-switch-long",
    "cut-heals",
    "half-of-30",
    "two",
    "deaths-in-waves",
    "staggered-deaths",
    "doubt",
    "one-way",
    "join-1000",
    "half-of-2000",
    "hostile",
    "hostile-crash",
    "hostile-hellos",
    "full-queues",
    "clocks-and-slow-cpus",
    "restart-elsewhere",
);

/// The text of a scenario, by file or by name.
pub fn text_of(name: &str) -> Result<String> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok((*text).to_owned());
    }
    let size = std::fs::metadata(name)
        .with_context(|| {
            format!("`{name}` is neither a built-in scenario (mesh-sim list) nor a file")
        })?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(anyhow!(
            "{name} has {size} bytes; a scenario has at most {FILE_BYTES_MAX}"
        ));
    }
    std::fs::read_to_string(name).with_context(|| format!("cannot read {name}"))
}

/// A scenario, by file or by name.
pub fn load(name: &str) -> Result<Scenario> {
    let text = text_of(name)?;
    parse(&text).map_err(|error| anyhow!("{name}: {error}"))
}

/// The title in a text.
pub fn title(text: &str) -> &str {
    let lines = text.lines();
    lines
        .filter_map(|line| line.strip_prefix("title"))
        .map(str::trim)
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use slotmesh_mesh::sim::scenario::State;

    use super::*;

    /// Each can be read, promises something, and says what it must come by, unless nothing happens in it.
    #[test]
    #[allow(clippy::panic)]
    fn all_built_in_ones_are_sound() {
        for (name, text) in BUILT_IN {
            match parse(text) {
                Ok(scenario) => {
                    assert!(!scenario.promises.is_empty(), "{name} promises nothing");
                    assert!(
                        !scenario.reach.is_empty() || scenario.faults.is_empty(),
                        "{name}"
                    );
                }
                // More members than the record holds are for a build that says so.
                Err(error) => {
                    let large = error.what.starts_with("nodes must be");
                    assert!(large && !cfg!(beyond_record), "{name}: {error}");
                }
            }
        }
    }

    /// A sweep fails when it never came by what its scenario lists, so whatever has a name must be on some list.
    #[test]
    fn every_state_is_one_that_some_scenario_must_come_by() {
        let scenarios = BUILT_IN.iter().filter_map(|(_, text)| parse(text).ok());
        let listed: Vec<State> = scenarios.flat_map(|scenario| scenario.reach).collect();
        let missing = State::all().filter(|state| !listed.contains(state));
        let missing: Vec<String> = missing.map(State::name).collect();
        assert_eq!(missing, Vec::<String>::new());
    }
}

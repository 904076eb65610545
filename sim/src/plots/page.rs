//! The page: rows by label, then plots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use slotmesh_report::series::Series;
use slotmesh_report::{Report, Row};

use super::Plot;
use super::draw::number;

/// What rows are about, in the order of the page.
const GROUPS: [(&str, &str); 19] = [
    ("P1", "a silent crash, simulated"),
    (
        "P1p",
        "a silent crash, simulated, beside foca and memberlist",
    ),
    ("PM", "the model of memberlist beside the real one"),
    ("P1k", "a dead process whose address answers, live"),
    ("P1r", "a silent death, live, beside memberlist"),
    ("P1v", "a silent death, live, beside Redis Cluster's bus"),
    ("P2", "packets are lost, simulated"),
    ("P2s", "members stand still, simulated"),
    ("P2g", "Lifeguard's grid of blocked members, simulated"),
    ("P2l", "packets are lost on busy machines, live"),
    ("P3", "Rapid's faults, simulated"),
    ("P3m", "many die at once, simulated"),
    ("P4", "a map change, simulated"),
    ("P4b", "bytes of maps"),
    ("P4z", "maps that cross zones, simulated"),
    ("P5", "the cost of rest, live and simulated"),
    ("P6", "half of a large cell dies, simulated"),
    ("P6b", "all start together, simulated"),
    ("P10", "the simulator itself"),
];
/// Longest label, in bytes.
const LABEL_MAX: usize = 4;

/// The page in Markdown.
pub(super) fn text(
    table: &Report,
    plots: &[(Plot, Option<&Series>)],
    remarks: &BTreeMap<String, String>,
) -> String {
    let mut page = String::new();
    // Writing into a string never fails.
    let _ = write_page(&mut page, table, plots, remarks);
    page
}

fn write_page(
    page: &mut String,
    table: &Report,
    plots: &[(Plot, Option<&Series>)],
    remarks: &BTreeMap<String, String>,
) -> std::fmt::Result {
    let rows = &table.rows;
    write_head(page, rows)?;
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(label(&row.case)).or_default().push(row);
    }
    for (name, title) in GROUPS {
        if let Some(rows) = groups.remove(name) {
            write_group(page, name, title, &rows, remarks)?;
        }
    }
    // Whatever else was measured: nothing is left out.
    let unlabelled = groups.remove("");
    for (name, rows) in groups {
        write_group(page, name, "", &rows, remarks)?;
    }
    if let Some(rows) = unlabelled {
        write_group(page, "", "Rows without a label", &rows, remarks)?;
    }
    let measured: BTreeSet<&str> = rows.iter().map(|row| label(&row.case)).collect();
    let missing = GROUPS.iter().filter(|(name, _)| !measured.contains(name));
    let missing: Vec<String> = missing
        .map(|(name, what)| format!("- {name}, {what}"))
        .collect();
    if !missing.is_empty() {
        writeln!(page, "\n## Not measured yet\n\n{}", missing.join("\n"))?;
    }
    write_plots(page, plots)
}

fn write_head(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    let count = |met: Option<bool>| {
        let promised = rows.iter().filter(|row| !row.aim.is_empty());
        promised.filter(|row| row.aim_met == met).count()
    };
    let (met, missed, short) = (count(Some(true)), count(Some(false)), count(None));
    writeln!(
        page,
        "# Benchmarks of the mesh\n\n\
         `make bench-mesh` measures the rows, and then writes this page and its plots with `mesh-sim plots`: do not\n\
         edit it. Rows stay, in `benchmarks.json` beside it, until they are measured anew. Simulated rows have the seeds 1 and on, so their command repeats them bit by bit; live rows are\n\
         measured on one machine, with the processes of all members on it.\n\n\
         {} rows; of their aims {met} are met, {missed} missed, and {short} were measured with less than the aim asks for.\n",
        rows.len()
    )?;
    let days: BTreeSet<String> = rows.iter().map(|row| day(row.measured_at)).collect();
    if let (Some(first), Some(last)) = (days.first(), days.last()) {
        let until = if first == last {
            String::new()
        } else {
            format!(" to {last}")
        };
        writeln!(page, "Measured: {first}{until}.")?;
    }
    writeln!(page, "\n{}.\n", machines(rows))?;
    let missed: Vec<&Row> = rows
        .iter()
        .filter(|row| row.aim_met == Some(false))
        .collect();
    if !missed.is_empty() {
        writeln!(
            page,
            "Missed, with the reason under the table of each label:\n"
        )?;
        for row in missed {
            let (case, value, aim) = (cell(&row.case), value(row), cell(&row.aim));
            writeln!(page, "- {case}: {value}, promised {aim}")?;
        }
    }
    Ok(())
}

/// `Machine: 2 cores …`, or how many rows come from each.
fn machines(rows: &[Row]) -> String {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let name = if row.machine.is_empty() {
            "not recorded"
        } else {
            &row.machine
        };
        *all.entry(name).or_default() += 1;
    }
    match all.first_key_value() {
        Some((name, _)) if all.len() == 1 => format!("Machine: {}", cell(name)),
        _ => {
            let all = all.iter();
            let all = all.map(|(name, count)| format!("{} ({count} rows)", cell(name)));
            format!("Machines: {}", all.collect::<Vec<_>>().join("; "))
        }
    }
}

fn write_group(
    page: &mut String,
    name: &str,
    title: &str,
    rows: &[&Row],
    remarks: &BTreeMap<String, String>,
) -> std::fmt::Result {
    let gap = if name.is_empty() || title.is_empty() {
        ""
    } else {
        ": "
    };
    writeln!(page, "\n## {name}{gap}{title}\n")?;
    // One line of origins for each command, as a part is measured as a whole.
    let origins = rows.iter().map(|row| origin(row)).collect::<BTreeSet<_>>();
    for origin in origins {
        writeln!(page, "{origin}  ")?;
    }
    writeln!(
        page,
        "\n| case | measured | promised | met | how |\n|---|---:|---|---|---|"
    )?;
    for row in rows {
        let case = row
            .case
            .strip_prefix(name)
            .unwrap_or(&row.case)
            .trim_start();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            cell(case),
            value(row),
            cell(&row.aim),
            met(row),
            cell(&row.note)
        )?;
    }
    match remarks.get(name) {
        Some(remark) => writeln!(page, "\n{remark}"),
        None if rows.iter().any(|row| row.aim_met == Some(false)) => writeln!(
            page,
            "\nWhy an aim of {name} is missed stands nowhere yet: `sim/remarks.md` is the place for it."
        ),
        None => Ok(()),
    }
}

fn write_plots(page: &mut String, plots: &[(Plot, Option<&Series>)]) -> std::fmt::Result {
    writeln!(page, "\n## Plots")?;
    for (Plot { name, command, .. }, series) in plots {
        let Some(series) = series else {
            writeln!(page, "\nNo plot `{name}`: `{command}` writes its series.")?;
            continue;
        };
        let (title, command) = (cell(&series.title), &series.command);
        writeln!(page, "\n### {title}\n\n![{title}](plots/{name}.svg)\n")?;
        let seeds = match series.seeds.as_str() {
            "" => "Measured live".to_owned(),
            seeds => format!("Seeds {}", cell(seeds)),
        };
        writeln!(page, "{seeds}; `{command}`.")?;
    }
    Ok(())
}

/// The first word of a case, when it is `P` and a few digits and letters, as in `P1`, `P3m`; empty else.
fn label(case: &str) -> &str {
    let word = case.split(' ').next().unwrap_or_default();
    let is_label = word.strip_prefix('P').is_some_and(|rest| {
        let begins = rest.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
        begins && rest.chars().all(|c| c.is_ascii_alphanumeric())
    });
    if is_label && word.len() <= LABEL_MAX {
        word
    } else {
        ""
    }
}

fn met(row: &Row) -> &'static str {
    match row.aim_met {
        Some(true) => "yes",
        Some(false) => "**missed**",
        None if row.aim.is_empty() => "",
        None => "measured with less",
    }
}

fn value(row: &Row) -> String {
    if row.is_never() {
        return "never".to_owned();
    }
    let number = number(row.value);
    let unit = cell(&row.unit);
    format!("{number} {unit}").trim_end().to_owned()
}

fn origin(row: &Row) -> String {
    let mut text = format!("Measured {}", day(row.measured_at));
    for (what, value) in [("commit", &row.commit), ("by", &row.command)] {
        if !value.is_empty() {
            text.push_str(&format!(", {what} `{value}`"));
        }
    }
    text
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Text that cannot end a cell, or begin a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}

#[cfg(test)]
mod tests;

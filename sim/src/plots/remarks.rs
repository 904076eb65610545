//! What is to be said of rows whose aim is missed: a small file that people write.
//!
//! ```text
//! # Anything before the first label is for its readers
//! ## P1v
//! What was tried, and the reason.
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Longest file that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// Text by label of rows; none when there is no file.
///
/// # Errors
/// When it cannot be read, is too long, or says something twice or nothing of a label.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let length = text.len();
    ensure!(length <= BYTES_MAX, "{length} bytes, more than {BYTES_MAX}");
    let mut remarks = BTreeMap::new();
    let mut label: Option<String> = None;
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("## ") {
            let next = next.trim().to_owned();
            let before = remarks.insert(next.clone(), String::new());
            ensure!(before.is_none(), "{next} has two remarks");
            label = Some(next);
        } else if let Some(remark) = label.as_ref().and_then(|label| remarks.get_mut(label)) {
            remark.push_str(line);
            remark.push('\n');
        }
    }
    for (label, remark) in &mut remarks {
        *remark = remark.trim().to_owned();
        ensure!(!remark.is_empty(), "{label} has an empty remark");
    }
    Ok(remarks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn remarks_stand_under_their_label() {
        let remarks = parse("# For readers\n\n## P1v\n\nOne.\nTwo.\n\n## P2\nThree.\n").unwrap();
        let all: Vec<_> = remarks
            .iter()
            .map(|(l, r)| (l.as_str(), r.as_str()))
            .collect();
        assert_eq!(all, [("P1v", "One.\nTwo."), ("P2", "Three.")]);
    }

    #[test]
    fn broken_remarks_are_told() {
        for (text, wanted) in [
            ("## P1\na\n## P1\nb", "P1 has two remarks"),
            ("## P1\n\n## P2\nb", "P1 has an empty remark"),
            (&"x".repeat(BYTES_MAX + 1), "more than"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_remarks_of_this_clone_can_be_read() {
        let own = slotmesh_report::clone_folder().join("sim/remarks.md");
        assert!(!read(&own).unwrap().is_empty());
    }
}

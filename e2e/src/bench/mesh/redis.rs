//! placeholder
use anyhow::{Result, bail};

use crate::report::Report;

pub(super) async fn measure(_report: &mut Report, _trials: Option<u32>) -> Result<()> {
    bail!("not there yet")
}

//! Waiting for conditions: with a generous deadline, never a bare sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Who waits longer than this is told what for, and then again each time it has passed.
const TELL: Duration = Duration::from_secs(15);

/// Looks until `look` yields something; `what` names it in the error.
///
/// # Errors
/// When the deadline passes; the last complaint of `look` is part of it.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Option<T>>,
{
    let begun = Instant::now();
    let mut tell = TELL;
    loop {
        let complaint = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if begun.elapsed() > deadline {
            bail!("waited {} s for {what}: {complaint}", deadline.as_secs());
        }
        if begun.elapsed() > tell {
            eprintln!("  waiting for {what} for {} s: {complaint}", tell.as_secs());
            tell += TELL;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

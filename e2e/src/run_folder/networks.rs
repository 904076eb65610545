//! Loopback networks: 127.N.0.0/16 for each group of nodes, claimed by a lock on a file, so that two
//! runs on one machine never give the same address to two pods. The kernel lets go of a lock when its
//! holder ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// 127.0.0.0/16 is everybody's.
const NETWORKS: RangeInclusive<u8> = 20..=250;

/// A claimed network. Dropping it gives it back.
#[derive(Debug)]
pub struct Network {
    number: u8,
    _lock: File,
}

impl Network {
    /// Claims one that nobody uses.
    ///
    /// # Errors
    /// When all are in use, or the cache folder cannot be written.
    pub fn claim() -> Result<Self> {
        Self::claim_in(&super::cache_folder()?.join("networks"))
    }

    pub(super) fn claim_in(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for number in NETWORKS {
            let path = folder.join(number.to_string());
            let file = File::options().create(true).append(true).open(&path);
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        number,
                        _lock: file,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        bail!("every network from 127.20 to 127.250 is in use: end other runs (make clean)")
    }

    /// The second octet.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }
}

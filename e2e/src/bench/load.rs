//! Threads that keep the machine busy.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;

/// Busy threads at the usual priority. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(count: usize) -> Result<Self> {
        let mut load = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..count {
            let stop = load.stop.clone();
            let thread = std::thread::Builder::new().name(format!("busy-{number}"));
            load.threads.push(thread.spawn(move || {
                let mut work = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    // Real work, not a pause instruction, which leaves half a core to its neighbour.
                    work = black_box(work.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            })?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

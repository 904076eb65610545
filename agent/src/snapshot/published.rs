//! Where the snapshot is published: readers take it without waiting, watchers are woken by what they
//! watch for, and by nothing else.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use slotmesh_mesh::identity::Epoch;
use tokio::sync::watch;

use super::Snapshot;

/// What wakes whoever watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// (era, epoch) of the map.
    pub(crate) version: Option<(u32, Epoch)>,
    /// Whether answers may be outdated.
    pub(crate) stale: bool,
    /// Whether this agent ends: nothing more will come.
    pub(crate) closing: bool,
}

/// The newest snapshot.
#[derive(Debug, Default)]
pub(crate) struct Published {
    snapshot: ArcSwapOption<Snapshot>,
    news: watch::Sender<News>,
}

/// As everybody holds it.
pub(crate) type Shared = Arc<Published>;

impl Published {
    /// To look at briefly.
    pub(crate) fn load(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// To keep.
    pub(crate) fn load_full(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    pub(crate) fn store(&self, snapshot: Arc<Snapshot>) {
        let (version, stale) = (snapshot.map.version(), snapshot.standing.is_stale());
        self.snapshot.store(Some(snapshot));
        self.news.send_if_modified(|news| {
            let next = News {
                version: Some(version),
                stale,
                ..*news
            };
            std::mem::replace(news, next) != next
        });
    }

    /// Tells watchers that nothing more will come.
    pub(crate) fn close(&self) {
        self.news.send_modify(|news| news.closing = true);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }
}

//! What a leader's parts share.

use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;

use crate::cells;
use crate::http::Health;
use crate::keys::KeyStore;
use crate::kubernetes::ApiServer;
use crate::lease::Tenure;
use crate::notes::Recorder;
use crate::queue::Queue;
use crate::views::Views;

/// What reconciling needs.
pub struct Context {
    pub(crate) client: Client,
    pub(crate) tenure: Tenure,
    pub(crate) keys: KeyStore,
    pub(crate) agent_image: String,
    pub(crate) join_address: SocketAddr,
    pub(crate) api: Arc<ApiServer>,
    pub(crate) shared: cells::Shared,
    pub(crate) recorder: Recorder,
    pub(crate) queue: Queue,
    pub(crate) health: Health,
    pub(crate) views: Views,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("join_address", &self.join_address)
            .finish_non_exhaustive()
    }
}

//! A client of the API that stands still while its node is cut off from it, as connections do whose
//! packets are dropped: no error, no answer, and what was on its way arrives later.

use futures::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

/// Wraps a client; `reachable` opens and closes its way.
pub(super) fn gated(inner: Client, reachable: watch::Receiver<bool>) -> Client {
    let service = tower::service_fn(move |request: hyper::Request<Body>| {
        let (inner, mut reachable) = (inner.clone(), reachable.clone());
        async move {
            passage(&mut reachable).await;
            let response = inner.send(request).await?;
            passage(&mut reachable).await;
            // Watches, too: their frames wait.
            let gated = response.map(|body| {
                let frames = BodyStream::new(body).then(move |frame| {
                    let mut reachable = reachable.clone();
                    async move {
                        passage(&mut reachable).await;
                        frame
                    }
                });
                StreamBody::new(frames)
            });
            Ok::<_, kube::Error>(gated)
        }
    });
    Client::new(service, "default")
}

async fn passage(reachable: &mut watch::Receiver<bool>) {
    // Without a sender the node is gone, and so are we.
    let _ = reachable.wait_for(|open| *open).await;
}

//! Tunnels: behind a 101 there are only bytes, both ways, until both sides are through or one is gone.
//!
//! A tunnel is a task of its own, since the answer to the request that it began with is over; that request is under way, and
//! takes its room, as long as the tunnel is there. Called by [`super::forward`].

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::exchange::Exchange;
use super::forward::Shared;
use super::link::Link;

/// Carries bytes once both connections, the client's and the engine's, are free.
pub(super) fn tunnel(
    shared: Arc<Shared>,
    mut exchange: Exchange,
    (ours, theirs): (OnUpgrade, OnUpgrade),
    mut link: Link,
) {
    exchange.finished(); // however it ends, its answer was whole
    let ending = shared.ending.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let carried = async {
            // The engine's connection lets go of its bytes once it is driven to its end.
            let free = async {
                std::future::poll_fn(|context| link.drive(context)).await;
                theirs.await
            };
            let (ours, theirs) = tokio::try_join!(ours, free)?;
            shared.counts.tunnelled();
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            Ok::<_, hyper::Error>(tokio::io::copy_bidirectional(&mut ours, &mut theirs).await)
        };
        match ending.run_until_cancelled(carried).await {
            Some(Ok(Ok((sent, received)))) => {
                shared.counts.sent(usize::try_from(sent).unwrap_or(usize::MAX));
                shared.counts.received(usize::try_from(received).unwrap_or(usize::MAX));
            }
            Some(Ok(Err(error))) => tracing::debug!("a tunnel ended: {error}"),
            Some(Err(error)) => tracing::debug!("a tunnel did not come about: {error}"),
            None => {}
        }
        drop(exchange);
    });
}

//! The door: connections in, handshake, who is it, then its requests.
//!
//! Rule: before the handshake is done a stranger gets a place among a few and a few seconds; after it, a connection
//! belongs to one partner and counts against that partner alone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Reception;
use super::requests::{Desk, Peer, converse};
use super::shares::Shares;
use crate::id::InstitutionId;
use crate::tls::{Tls, TlsFailure};
use crate::wire::{Limits, socket};

/// A partner's connection. Much is read from it at once: TLS by itself reads record by record, 16 KiB a system call.
type Stream = TlsStream<BufReader<TcpStream>>;

/// Serves partners until `shutdown` comes, then gives the requests under way a few seconds to end.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    reception: Arc<dyn Reception>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let door = Arc::new(Door {
        connections: Shares::new(limits.connections_max, limits.connections_per_partner_max),
        desk: Desk::new(reception, limits.clone()),
        tls,
    });
    let handshakes = Arc::new(Semaphore::new(limits.handshakes_max));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = shutdown.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &handshakes) => accepted,
        };
        let Some((stream, handshake)) = accepted else { continue };
        let (door, mut stopped) = (Arc::clone(&door), stopped.clone());
        connections.spawn(async move {
            let Some((stream, institution)) = door.meet(stream).await else { return };
            drop(handshake);
            let gone = async move {
                // A sender that is gone means the same.
                let _stop = stopped.wait_for(|stop| *stop).await;
            };
            door.attend(stream, institution, gone).await;
        });
    }
    drop(listener);
    stop.send_replace(true);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all_gone).await.is_err() {
        tracing::info!(connections = connections.len(), "requests of partners were cut off at shutdown");
    }
}

async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(handshakes).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, most likely: trying again at once would only burn the processor.
            tracing::warn!(%error, "a connection cannot be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

struct Door {
    tls: Tls,
    desk: Arc<Desk>,
    connections: Shares,
}

impl Door {
    /// The handshake, and whose certificate it was.
    async fn meet(&self, stream: TcpStream) -> Option<(Stream, InstitutionId)> {
        let limits = self.desk.limits();
        if let Err(error) = socket::prepare(&stream, limits) {
            tracing::debug!(%error, "a connection cannot be prepared");
            return None;
        }
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        let accepting = TlsAcceptor::from(self.tls.server_config()).accept(stream);
        let stream = match timeout(Duration::from_secs(limits.handshake_s_max), accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(why = %TlsFailure::of(&error), "a handshake failed");
                return None;
            }
            Err(_) => {
                tracing::debug!("a handshake took too long");
                return None;
            }
        };
        let institution = self.tls.peer_of(stream.get_ref().1.peer_certificates()?)?;
        Some((stream, institution))
    }

    async fn attend(&self, stream: Stream, institution: InstitutionId, gone: impl Future<Output = ()>) {
        let Some(_share) = self.connections.take(&institution) else {
            tracing::info!(partner = %institution, "a partner has too many connections");
            return;
        };
        let chain: Vec<_> = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let tls = self.tls.clone();
        let expected = institution.clone();
        let peer = Peer::new(institution, move || tls.peer_of(&chain).as_ref() == Some(&expected));
        converse(Arc::clone(&self.desk), peer, stream, gone).await;
    }
}

/// How much is read from a connection at once.
const READ_BYTES: usize = 256 << 10;

/// How long requests under way may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
